"""Embedders: one vendor a module."""
