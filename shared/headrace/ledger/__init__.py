"""The ledger: one record an answer, in a SQL database or in the log."""
