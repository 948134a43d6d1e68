"""Constraints as JSON schemas, the form that most servers enforce."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from headrace.types import Choice, JsonSchema, Regex


def schema_of(constraint: JsonSchema | Choice | Regex) -> Mapping[str, Any]:
    """The schema of a text that satisfies the constraint; of JSON, its own."""
    match constraint:
        case JsonSchema(schema=schema):
            return schema
        case Choice(options):
            return {"type": "string", "enum": list(options)}
        case Regex(pattern):
            return {"type": "string", "pattern": f"^(?:{pattern})$"}
