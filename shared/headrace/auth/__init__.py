"""Authentication: a request's credentials in, the principal who asks out. One way of knowing a module."""
