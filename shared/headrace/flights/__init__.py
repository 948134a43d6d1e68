"""Flight relays: one vendor a module."""
