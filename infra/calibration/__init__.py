"""Calibrates the answer cache: how near two questions must be, for an embedding model, to share an answer."""
