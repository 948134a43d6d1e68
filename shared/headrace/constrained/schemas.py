"""JSON checked by its schema, by jsonschema-rs: no schema that lies elsewhere is fetched, and expressions take linear time."""

from __future__ import annotations

import json
from functools import lru_cache
from typing import Any

import jsonschema_rs

from headrace.constrained.reasons import ConstraintError, short
from headrace.errors import InvalidInputError


def check_schema(schema: Any) -> None:
    """Raise InvalidInputError when the schema can't be used."""
    try:
        _validator(json.dumps(schema))
    except (jsonschema_rs.ValidationError, jsonschema_rs.ReferencingError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"The schema can't be used: {short(str(error))}") from None


def read_json(text: str, schema: Any) -> Any:
    """The value of a JSON text that the schema allows. Raises ConstraintError."""
    try:
        value = json.loads(text, parse_constant=_refuse)
        # Half a surrogate pair is JSON, and no character.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ConstraintError(f"It is not valid JSON: {short(str(error))}") from None
    try:
        _validator(json.dumps(schema)).validate(value)
    except jsonschema_rs.ValidationError as error:
        where = "/".join(map(str, error.instance_path))
        raise ConstraintError(f"At /{where}: {short(error.message)}") from None
    return value


@lru_cache(maxsize=64)
def _validator(schema: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(json.loads(schema), offline=True, pattern_options=jsonschema_rs.RegexOptions())


def _refuse(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
