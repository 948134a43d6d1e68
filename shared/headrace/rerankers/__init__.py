"""Rerankers: one protocol a module."""
