"""Chat models: one vendor a module."""
