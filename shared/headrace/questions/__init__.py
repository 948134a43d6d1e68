"""What questions ask, by rules that need no model: words, readings, order, and whether two ask the same."""
