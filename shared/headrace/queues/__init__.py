"""Queues: one vendor a module."""
