"""Runs: one asker's answer as it is made. It outlives its reader, can be followed from any event on, and be stopped."""
