"""All state in Redis or Valkey: document registry, answer cache, conversations, and the relay of single flight.

One package, because registry and cache share one hash and the scripts that change it: a document's new version becomes
current, and the cached answers that it invalidates leave, in one step. `layout` says which key holds what; `lua/` has
the scripts.
"""
