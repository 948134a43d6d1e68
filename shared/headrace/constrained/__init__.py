"""Texts of a guaranteed form: whether a constraint can be read, and whether a text satisfies it. Loaded when it is needed."""
