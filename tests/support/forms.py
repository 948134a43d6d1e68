"""Random constraints of every kind, and random texts within them, as a server that enforces would write."""

from __future__ import annotations

import json
import random

import llguidance

from headrace.constrained.grammars import END, _tokenizer, of_regex
from headrace.types import Choice, Constraint, Grammar, JsonSchema, Regex

LETTERS = "abcxyzäöß東 -_"


def random_form(source: random.Random) -> tuple[Constraint, str]:
    """A schema, a choice, an expression, or a grammar, with an expression beside it or alone; and a text of that form."""
    match source.randrange(5):
        case 0:
            inner = random_schema(source)
            whole = {"type": "object", "properties": {"x": inner}, "required": ["x"], "additionalProperties": False}
            return JsonSchema("x", whole), json_within(whole, source)
        case 1:
            words = {
                "".join(source.choices(LETTERS + '"\\', k=source.randint(1, 8))) for _ in range(source.randint(1, 6))
            }
            return Choice(tuple(sorted(words))), source.choice(sorted(words))
        case 2:
            pattern, text = random_regex(source)
            return Regex(pattern), text
        case 3:
            pattern, text = random_regex(source)
            return Grammar(of_regex(pattern), pattern), text
    rules = [random_regex(source, 1) for _ in range(source.randint(1, 3))]
    # A lexer takes all that it can: two that may be long need something between them.
    parts = [(source.randrange(len(rules)), source.choice(["", "?", "+"])) for _ in range(3)]
    body = " ".join(f'(r{rule} ";"){often}' for rule, often in parts)
    text = "".join(f"{rules[rule][1]};" * (2 if often == "+" else 1) for rule, often in parts)
    lines = [f"r{number}: /{pattern}/" for number, (pattern, _) in enumerate(rules)]
    return Grammar("\n".join([f'start: "<" {body} ">"', *lines])), f"<{text}>"


def random_regex(source: random.Random, depth: int = 2) -> tuple[str, str]:
    """An expression of the kinds that every engine has, and a text that it matches."""
    if depth == 0 or source.random() < 0.3:
        return source.choice(
            [("[a-z]", "q"), ("[0-9]", "7"), ("[^a-z;>]", "Q"), ("ä", "ä"), ("x", "x"), ("yes", "yes"), ("[A-Fa-f0-9]", "F"), ("-", "-")]
        )  # fmt: skip
    parts = [random_regex(source, depth - 1) for _ in range(source.randint(1, 3))]
    mark = source.choice(["", "|"])
    text = "".join(text for _, text in parts) if not mark else source.choice(parts)[1]
    often, count = source.choice([("", 1), ("", 1), ("?", 1), ("{1,3}", 2), ("{2}", 2), ("+", 3)])
    return f"(?:{mark.join(pattern for pattern, _ in parts)}){often}", text * count


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


def json_within(schema: object, source: random.Random, *, most: int = 120) -> str:
    """A random JSON text of the schema: a walk over the bytes that may come next, which ends soon behind `most` bytes."""
    grammar = llguidance.LLMatcher.grammar_from_json_schema(
        json.dumps(schema), overrides={"whitespace_flexible": False}
    )
    matcher = llguidance.LLMatcher(_tokenizer(), grammar, log_level=0)
    written = bytearray()
    while True:
        mask = matcher.compute_bitmask()
        allowed = [byte for byte in range(END + 1) if mask[byte // 8] >> (byte % 8) & 1]
        if END in allowed and (len(allowed) == 1 or len(written) > most or source.random() < 0.2):
            return written.decode("utf-8", "replace")
        bytes_ = [byte for byte in allowed if byte != END]
        plain = [byte for byte in bytes_ if chr(byte) in '"]},' or 97 <= byte <= 122]
        byte = source.choice(plain if plain and source.random() < 0.7 else bytes_)
        written.append(byte)
        matcher.consume_token(byte)
