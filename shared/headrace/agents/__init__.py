"""Agents: a language model that calls tools until it can answer."""
