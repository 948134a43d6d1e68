"""Clients of servers that several adapters share: Redis, OpenAI's API, JSON over HTTP."""
