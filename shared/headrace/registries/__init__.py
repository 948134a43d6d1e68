"""Document registries: one vendor a module."""
