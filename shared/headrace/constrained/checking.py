"""Constraints checked on this side, whatever a server promised: whether one can be used, and whether a text satisfies it."""

from __future__ import annotations

from headrace.constrained.reasons import ConstraintError
from headrace.errors import InvalidInputError
from headrace.types import Choice, Constraint, Grammar, JsonSchema, Regex


def check_constraint(constraint: Constraint) -> None:
    """Raise InvalidInputError when the constraint itself can't be used. Takes some milliseconds, and no network."""
    # JSON needs no grammars, and most constraints are JSON: each kind loads what it needs.
    match constraint:
        case JsonSchema(schema=schema):
            from headrace.constrained import schemas

            schemas.check_schema(schema)
        case Regex(pattern):
            from headrace.constrained import grammars

            grammars.check_grammar(grammars.of_regex(pattern), "The expression")
        case Grammar(text, regex):
            from headrace.constrained import grammars

            grammars.check_grammar(text, "The grammar")
            if regex:
                grammars.check_grammar(grammars.of_regex(regex), "The expression")
        case Choice(options):
            if not options or not all(options):
                raise InvalidInputError("A choice needs options, none of them empty.")


def check_text(text: str, constraint: Constraint) -> None:
    """Raise ConstraintError when the text does not satisfy the constraint."""
    match constraint:
        case JsonSchema(schema=schema):
            from headrace.constrained import schemas

            schemas.read_json(text, schema)
        case Regex(pattern):
            from headrace.constrained import grammars

            grammars.match(text, grammars.of_regex(pattern))
        case Grammar(text=grammar):
            from headrace.constrained import grammars

            grammars.match(text, grammar)
        case Choice(options):
            if text not in options:
                raise ConstraintError(f"It must be one of: {', '.join(options)}.")
