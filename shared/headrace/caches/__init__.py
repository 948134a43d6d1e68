"""Answer caches: one vendor a module."""
