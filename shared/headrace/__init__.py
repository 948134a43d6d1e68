"""Headrace's shared layer. The map, from the ground up; an arrow never points upward.

types, errors      the words and the tree of faults (standard library only)
sentences, lexical what texts say in words: sentences, stems, and how much a question and a chunk share
protocols          every seam on one page
filters, ranking   the portable filter language; from what a store measured to passages in order
settings           the only reader of the environment
stores, registries, caches, conversations, models, embedders, rerankers, parsers, buckets, queues
                   the adapters: one vendor a module (redis_client, openai_client and http_json stand under them)
retrieval          from a question to the passages that may answer it
wiring             settings in, protocols out: the only place that chooses a vendor
langchain          the retriever as LangChain's
lambda_runtime     the streaming ASGI runtime; knows nothing of the rest
"""
