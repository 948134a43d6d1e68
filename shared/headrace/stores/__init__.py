"""Vector stores: one vendor a module."""
