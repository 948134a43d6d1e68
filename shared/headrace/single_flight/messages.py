"""What a flight's leader sends to followers in other processes: its beginning, its events, its failure, its end."""

from __future__ import annotations

import json

from headrace import errors
from headrace.errors import HeadraceError, UnavailableError

BEGINS, ENDS, LEAVES = b"begins", b"ends", b"leaves"
_FAULT = b"!"
# What some faults carry beside their sentence.
_MORE = ("param", "retry_after_seconds")


def encode_fault(error: Exception) -> bytes:
    """The failure as a message. What we did not foresee says nothing of itself to others."""
    if not isinstance(error, HeadraceError):
        error = UnavailableError("The process that was making this answer failed. Ask again.")
    more = {name: value for name in _MORE if (value := getattr(error, name, None)) is not None}
    return _FAULT + json.dumps([type(error).__name__, str(error), more]).encode()


def is_fault(message: bytes) -> bool:
    """Whether `encode_fault` wrote the message."""
    return message.startswith(_FAULT)


def decode_fault(message: bytes) -> Exception:
    """The failure that `encode_fault` wrote, to be raised here."""
    name, text, more = json.loads(message.removeprefix(_FAULT))
    kind = getattr(errors, name, UnavailableError)
    is_simple = isinstance(kind, type) and issubclass(kind, HeadraceError) and kind is not errors.IndexMismatchError
    error = kind(text) if is_simple else UnavailableError(text)
    for attribute, value in more.items():
        setattr(error, attribute, value)
    return error
