"""Random constraints of every kind, and random texts within them, as a server that enforces would write."""

from __future__ import annotations

import json
import random

import llguidance

from headrace.constrained.grammars import END, _tokenizer, of_regex
from headrace.types import Choice, Constraint, Grammar, JsonSchema, Regex

LETTERS = "abcxyzäöß東 -_"


def random_form(source: random.Random) -> Constraint:
    """A schema, a choice, an expression, or a grammar, one that an expression goes along with or one alone."""
    match source.randrange(5):
        case 0:
            inner = random_schema(source)
            whole = {"type": "object", "properties": {"x": inner}, "required": ["x"], "additionalProperties": False}
            return JsonSchema("x", whole)
        case 1:
            words = {
                "".join(source.choices(LETTERS + '"\\', k=source.randint(1, 8))) for _ in range(source.randint(1, 6))
            }
            return Choice(tuple(sorted(words)))
        case 2:
            return Regex(random_regex(source))
        case 3:
            pattern = random_regex(source)
            return Grammar(of_regex(pattern), pattern)
    rules = [f"r{number}: /{random_regex(source, 1)}/" for number in range(source.randint(1, 3))]
    names = " ".join(f"r{source.randrange(len(rules))}{source.choice(['', '?', '+'])}" for _ in range(3))
    return Grammar("\n".join([f'start: "<" {names} ">"', *rules]))


def random_regex(source: random.Random, depth: int = 2) -> str:
    """An expression of the kinds that every engine has."""
    if depth == 0 or source.random() < 0.3:
        return source.choice(["[a-z]", "[0-9]", "[^a-z]", "ä", "x", "yes", "[A-Fa-f0-9]", "-"])
    parts = [random_regex(source, depth - 1) for _ in range(source.randint(1, 3))]
    whole = f"(?:{source.choice(['', '|']).join(parts)})"
    return whole + source.choice(["", "", "?", "{1,3}", "{2}", "+"])


def random_schema(source: random.Random, depth: int = 2) -> dict[str, object]:
    """A schema of the kinds that structured output has everywhere."""
    kind = source.choice(
        ["integer", "string", "boolean", "enum", "array", "object"] if depth else ["integer", "boolean", "enum"]
    )
    if kind == "object":
        names = source.sample(["a", "b", "c", "größe", "x y"], source.randint(1, 3))
        fields = {name: random_schema(source, depth - 1) for name in names}
        return {"type": "object", "properties": fields, "required": names, "additionalProperties": False}
    if kind == "array":
        return {"type": "array", "items": random_schema(source, depth - 1), "maxItems": source.randint(1, 3)}
    if kind == "enum":
        return {"type": "string", "enum": source.sample(["ja", "nein", "vielleicht", "“quoted”", 'a"b'], 2)}
    if kind == "string":
        return {"type": "string", "maxLength": source.randint(1, 12)}
    return {"type": kind}


def text_within(grammar: str, source: random.Random, *, most: int = 120) -> str:
    """A random text of the grammar: a walk over the bytes that may come next, which ends soon behind `most` bytes."""
    matcher = llguidance.LLMatcher(_tokenizer(), grammar, log_level=0)
    written = bytearray()
    while True:
        mask = matcher.compute_bitmask()
        allowed = [byte for byte in range(END + 1) if mask[byte // 8] >> (byte % 8) & 1]
        ends = END in allowed
        if ends and (len(allowed) == 1 or len(written) > most or source.random() < 0.2):
            return written.decode("utf-8", "replace")
        plain = [byte for byte in allowed if byte in b'"]},' or 97 <= byte <= 122]
        bytes_ = [byte for byte in allowed if byte != END]
        byte = source.choice(plain if plain and len(written) > most / 2 else bytes_)
        written.append(byte)
        matcher.consume_token(byte)


def json_within(schema: object, source: random.Random) -> str:
    """A random JSON text of the schema, in the spacing of a model."""
    grammar = llguidance.LLMatcher.grammar_from_json_schema(
        json.dumps(schema), overrides={"whitespace_flexible": False}
    )
    return text_within(str(grammar), source)
