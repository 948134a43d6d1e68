"""The answering pipeline: cache, retrieval, language model, stream; asked by chat, and by maintenance to warm the cache."""
