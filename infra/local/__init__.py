"""The local stack: the whole system on loopback, as `make run` starts it."""
