"""How a constraint is put to a server of Chat Completions, and what is made of what it writes.

Each server is asked in the form that its kind is known to enforce, and what it writes is checked here in any case.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from headrace.clients.dialects import Dialect
from headrace.constrained.forms import schema_of
from headrace.types import Choice, Constraint, Grammar, JsonSchema, Regex

# The field of a text that has to stand in an object, because servers know no other form.
CHOICE_FIELD = "choice"
TEXT_FIELD = "text"
# Servers that do not keep to schemas like to put JSON into a block of code.
_JSON = re.compile(r"[\[{].*[\]}]", re.DOTALL)
REPAIR = """That was not of the form that was asked for. {reason} Write the whole once more, in that form, and nothing else."""


@dataclass(frozen=True, slots=True)
class Form:
    """What a request for a constrained text has beside its messages.

    `is_enforced` is whether the server is known to keep to it, `is_plain` whether it writes the very text that was asked for,
    which then can be passed on as it comes.
    """

    fields: Mapping[str, Any] = field(default_factory=dict)
    extra: Mapping[str, Any] = field(default_factory=dict)
    is_enforced: bool = False
    is_plain: bool = False


def form_of(constraint: Constraint, dialect: Dialect) -> Form:
    """The form in which a server of this kind is asked."""
    match constraint:
        case JsonSchema(name, schema, strict):
            is_enforced = dialect.schemas == "all" or (strict and dialect.schemas == "strict")
            return Form(_schema_format(name, schema, strict=strict), is_enforced=is_enforced, is_plain=True)
        case Choice():
            return _one_text(CHOICE_FIELD, schema_of(constraint), dialect)
        case Regex():
            return _one_text(TEXT_FIELD, schema_of(constraint), dialect)
        case Grammar(regex=regex) if regex and dialect.schemas:
            return _one_text(TEXT_FIELD, schema_of(Regex(regex)), dialect)
        case Grammar(text):
            extra = {dialect.grammar_field: {"grammar": text}} if dialect.grammar_field else {}
            return Form(extra=extra)


def read_text(written: str, constraint: Constraint) -> str:
    """The text that was asked for. Raises ConstraintError for what does not satisfy the constraint."""
    from headrace.constrained.checking import check_text

    match constraint:
        case JsonSchema():
            found = _JSON.search(written)
            text = found.group() if found else written
        case Choice():
            text = _field(written, CHOICE_FIELD, written.strip().strip("\"'."))
        case Regex():
            text = _field(written, TEXT_FIELD, written.strip())
        case Grammar():
            # Where an expression was asked for instead, the text stands in an object.
            text = _field(written, TEXT_FIELD, written) if constraint.regex else written
    check_text(text, constraint)
    return text


def _field(written: str, name: str, otherwise: str) -> str:
    """A field of an object, or where there is no object the text itself."""
    try:
        value = json.loads(written)
    except (ValueError, RecursionError):
        return otherwise
    return str(value.get(name)) if isinstance(value, dict) else otherwise


def _one_text(name: str, schema: Mapping[str, Any], dialect: Dialect) -> Form:
    whole = {"type": "object", "properties": {name: schema}, "required": [name], "additionalProperties": False}
    return Form(_schema_format(name, whole, strict=True), is_enforced=bool(dialect.schemas))


def _schema_format(name: str, schema: Mapping[str, Any], *, strict: bool) -> dict[str, Any]:
    described = {"name": name, "strict": strict, "schema": schema}
    return {"response_format": {"type": "json_schema", "json_schema": described}}
