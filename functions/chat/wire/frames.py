"""What goes over a WebSocket: frames in, one JSON value each; frames out, one JSON message a line."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from functions.chat.faults import validation_fault
from functions.chat.wire.bodies import ChatBody
from functions.chat.wire.schemas import event_name, event_payload
from headrace.errors import InvalidInputError, TooLargeError
from headrace.types import AnswerEvent, event_id

# API Gateway takes 128 KB in either direction.
MOST_BYTES = 120_000
LEAST_BYTES = 100
RequestId = Annotated[str | None, Field(max_length=200)]


class AskFrame(ChatBody):
    """Ask, as `POST /chat` does."""

    action: Literal["ask"]
    request_id: RequestId = None


class _Frame(BaseModel):
    model_config = ConfigDict(extra="forbid")

    request_id: RequestId = None


class StopFrame(_Frame):
    """Stop a run."""

    action: Literal["stop"]
    run_id: str = Field(pattern=r"^[0-9a-f]{16}$")


class ResumeFrame(_Frame):
    """Go on with a run, behind the event of this id."""

    action: Literal["resume"]
    last_event_id: str = Field(max_length=100)


class PingFrame(_Frame):
    """Keep the connection open."""

    action: Literal["ping"]


Frame = AskFrame | StopFrame | ResumeFrame | PingFrame
_frames: TypeAdapter[Frame] = TypeAdapter(Annotated[Frame, Field(discriminator="action")])


def read_frame(text: str) -> Frame:
    """What a frame asks for. Raises InvalidInputError."""
    if len(text) > MOST_BYTES or len(text.encode("utf-8", "surrogatepass")) > MOST_BYTES:
        raise TooLargeError(f"The frame has more than {MOST_BYTES:,} bytes. Send less.")
    try:
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode()
    except UnicodeEncodeError:
        raise InvalidInputError("The frame has half of a surrogate pair, which is no character.") from None
    except (ValueError, RecursionError):
        raise InvalidInputError("The frame is not valid JSON.") from None
    try:
        return _frames.validate_python(value)
    except ValidationError as error:
        # The first part of a place is the action.
        raise validation_fault([{**each, "loc": each["loc"][1:]} for each in error.errors()]) from None


def request_id_in(text: str) -> str | None:
    """The request's id of a frame that may not be in order; none of one that is too long to be read."""
    if len(text) > MOST_BYTES:
        return None
    try:
        given = json.loads(text).get("request_id")
    except (ValueError, RecursionError, AttributeError):
        return None
    # Half a surrogate pair could not be sent back.
    is_text = isinstance(given, str) and given.isprintable()
    return given[:200] if is_text else None


def write_message(
    event: str, data: Mapping[str, Any], request_id: str | None, *, run_id: str | None = None, number: int | None = None
) -> str:
    """One message, in one line."""
    message: dict[str, Any] = {"event": event, "data": data}
    if request_id is not None:
        message["request_id"] = request_id
    if run_id is not None:
        message["run_id"] = run_id
        if number is not None:
            message["id"] = event_id(run_id, number)
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def write_event(event: AnswerEvent, request_id: str | None, run_id: str, number: int) -> str:
    """An answer's event as a message that fits into a frame."""
    name, data = event_name(event), event_payload(event)
    line = write_message(name, data, request_id, run_id=run_id, number=number)
    share = MOST_BYTES
    while len(line.encode()) > MOST_BYTES and data.get("passages") and share > LEAST_BYTES:
        # Signs that JSON writes in six characters make a text longer than it looks.
        share //= 2
        cut = {"passages": [_shortened(passage, share) for passage in data["passages"]]}
        line = write_message(name, cut, request_id, run_id=run_id, number=number)
    return line


def _shortened(passage: Mapping[str, Any], most_bytes: int) -> dict[str, Any]:
    """A passage without its table's form, and with the beginning of a very long text."""
    text = passage["text"].encode()[:most_bytes].decode(errors="ignore")
    rest = {name: value for name, value in passage.items() if name not in {"html", "text"}}
    return {**rest, "text": text if text == passage["text"] else f"{text}…"}
