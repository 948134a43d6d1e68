"""The envelope in which a model puts an answer of a guaranteed form: `{"found": …, "answer": …}`, so that it can say that there is none.

What is in it is passed on while it is written.
"""

from __future__ import annotations

import json
import re
from typing import Any

from headrace.constrained.forms import schema_of
from headrace.types import Choice, Constraint, JsonSchema, Regex

# A reference to the schema's own root, which lies elsewhere within the envelope.
_ROOT = "#/properties/answer/anyOf/0"
_DEFINITIONS = ("$defs", "definitions")
_HEAD = re.compile(r'\s*\{\s*"found"\s*:\s*(true|false)\s*,\s*"answer"\s*:\s*')


def enveloped(constraint: JsonSchema | Choice | Regex) -> JsonSchema:
    """The schema of the envelope with such an answer in it."""
    name, is_strict, schema = "answer", True, schema_of(constraint)
    if isinstance(constraint, JsonSchema):
        name, is_strict = constraint.name, constraint.strict
    definitions = {key: _moved(schema[key]) for key in _DEFINITIONS if key in schema}
    inner = _moved({key: value for key, value in schema.items() if key not in {*_DEFINITIONS, "$schema", "$id"}})
    whole = {
        "type": "object",
        "properties": {"found": {"type": "boolean"}, "answer": {"anyOf": [inner, {"type": "null"}]}},
        "required": ["found", "answer"],
        "additionalProperties": False,
        **definitions,
    }
    return JsonSchema(name, whole, is_strict)


class Envelope:
    """Opens an envelope while it is written. A text in it is given whole, at the end; JSON as it comes."""

    def __init__(self, constraint: Constraint) -> None:
        self._is_text = not isinstance(constraint, JsonSchema)
        self._written = ""
        self._place: int | None = None
        self._depth = 0
        self._in_string = self._is_escaped = self._is_ended = False
        self.said = ""

    def feed(self, text: str) -> str:
        """What can be passed on."""
        self._written += text
        if self._place is None:
            head = _HEAD.match(self._written)
            # Until something behind the head is there, it may be longer.
            if head is None or head.end() == len(self._written):
                return ""
            self._place = head.end()
            self._is_ended = self._is_text or head[1] == "false"
        start = self._place
        while self._place < len(self._written) and not self._is_ended:
            self._step(self._written[self._place])
        piece = self._written[start : self._place]
        self.said += piece
        return piece

    def close(self) -> tuple[Any, str]:
        """The answer, None where there is none, and what of it was not passed on yet. Raises ValueError for what is no envelope."""
        value = json.loads(self._written)
        answer = value["answer"] if value["found"] is True else None
        if answer is None:
            return None, ""
        whole = answer if self._is_text else json.dumps(answer, ensure_ascii=False)
        # In an envelope with another order nothing was passed on.
        return answer, "" if self.said else whole

    def _step(self, sign: str) -> None:
        """Go on by one character, unless it closes the envelope."""
        if self._in_string:
            if self._is_escaped:
                self._is_escaped = False
            elif sign == "\\":
                self._is_escaped = True
            else:
                self._in_string = sign != '"'
        elif sign == '"':
            self._in_string = True
        elif sign in "[{":
            self._depth += 1
        elif sign in "]}":
            if self._depth == 0:
                self._is_ended = True
                return
            self._depth -= 1
        elif sign == "," and self._depth == 0:
            self._is_ended = True
            return
        assert self._place is not None  # noqa: S101 - the head was read
        self._place += 1


def _moved(schema: Any) -> Any:
    """The schema with its references to the root's own parts where these lie within the envelope."""
    if isinstance(schema, list):
        return [_moved(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    return {key: _reference(value) if key == "$ref" else _moved(value) for key, value in schema.items()}


def _reference(target: Any) -> Any:
    if not isinstance(target, str) or not target.startswith("#"):
        return target
    if any(target.startswith(f"#/{key}/") for key in _DEFINITIONS):
        return target
    return _ROOT + target[1:]
