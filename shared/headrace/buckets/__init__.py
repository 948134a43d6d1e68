"""Buckets: one vendor a module."""
