"""The answer cache: entries, the index of their questions, quotas, maintenance and invalidation."""
