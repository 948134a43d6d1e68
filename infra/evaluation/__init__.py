"""How good the answers are: questions with what is expected of them, asked of a running Headrace, scored and compared."""
