"""Headrace's shared layer. The map, by layer: a package imports from the layers below its own, or from itself.

0  types              the domain's values: principals, documents, questions, passages, events, what the cache keeps
   errors             the tree of faults, each with its HTTP status and a sentence for the reader
   text               sentences, stems, and codes of texts in any language
   vectors            8-bit vectors and their cosines
   lambda_runtime     the streaming ASGI runtime for Lambda; it imports nothing else of Headrace
1  protocols          every interface: auth, documents, retrieval, generation, tools, cache, runs, sockets
   concurrency        helpers of asyncio: threads, gathering, retries, batches, the handler's event loop
   filters            the portable filter language
   rate_limits        how much a principal may use, and a limiter within one process
   ranking            from what a store measured to passages in order
   settings           the only reader of the environment
2  clients            connections that adapters share: Redis, OpenAI, HTTP
   constrained        texts of a guaranteed form: JSON by schema, expressions, grammars
   buckets, queues    S3 and SQS
   retrieval          from a question to the passages that may answer it
   single_flight      equal questions at one time are answered once
   sockets            connections that API Gateway keeps
3  stores             vector stores: Qdrant, Pinecone, Redis, embedded
   redis_state        registry, answer cache, conversations, relay, runs, limits: one hash and its scripts
   runs               one asker's answer as it is made: outlives its reader, is resumed, is stopped
   ledger             one record an answer, in a SQL database or in the log
   observability      spans around what answers spend their time on
   models, embedders  language models, and what makes vectors of texts
   auth               credentials in, the principal who asks out
   rerankers          what orders passages anew
   parsers            what reads files into elements
   tools              what agents call: the documents' tools, and those of others
4  answering          from a question to its answer's events: cache, search, language model
5  agents             a language model that calls tools until it can answer
6  wiring             settings in, protocols out: the only place that chooses a vendor
7  langchain          the retriever as LangChain's
"""
