"""Parsers: one vendor a module, run in a process of their own."""
