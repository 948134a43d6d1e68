"""Connections that something else keeps, and how to send to them."""
