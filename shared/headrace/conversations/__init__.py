"""Conversation stores: one vendor a module."""
