"""Headrace's shared layer. The map, from the ground up; an arrow never points upward.

types, errors      the words and the tree of faults (standard library only)
protocols          every seam on one page
settings           the only reader of the environment
stores, registries, caches, conversations, models, embedders, parsers, buckets
                   the adapters: one vendor a module
wiring             settings in, protocols out: the only place that chooses a vendor
lambda_runtime     the streaming ASGI runtime; knows nothing of the rest
"""
