"""Tools for agents: the documents', and those of others."""
