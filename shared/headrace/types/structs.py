"""Structs as plain values."""

from __future__ import annotations

from typing import Any

import msgspec


def struct_fields(struct: msgspec.Struct) -> dict[str, Any]:
    """A struct's fields, each a text, a number, a truth value, or a list or an object of such."""
    # What stands at its default is left out of the JSON form, but is a field all the same.
    fields = {name: getattr(struct, name) for name in struct.__struct_fields__}
    told: dict[str, Any] = msgspec.to_builtins(fields)
    return told
