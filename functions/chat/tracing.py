"""What a request's span says of the answer that was made in it: how it came about and ended, and nobody's words."""

from __future__ import annotations

from headrace.protocols import Attribute, Span
from headrace.types import AnswerRecord


def end_span(span: Span, record: AnswerRecord | None) -> None:
    """End a request's span, with what there is to say of its answer."""
    if record is None:
        span.end()
        return
    attributes: dict[str, Attribute] = {
        "headrace.tenant": record.tenant,
        "headrace.mode": record.mode,
        "headrace.cache": record.verdict,
        "gen_ai.conversation.id": record.conversation_id,
        "gen_ai.usage.input_tokens": record.prompt_tokens,
        "gen_ai.usage.output_tokens": record.completion_tokens,
    }
    if record.steps:
        attributes |= {"gen_ai.operation.name": "invoke_agent", "gen_ai.agent.name": "headrace-agent"}
    if record.first_token_seconds is not None:
        attributes["gen_ai.response.time_to_first_chunk"] = record.first_token_seconds
    span.set({name: value for name, value in attributes.items() if value != ""})
    span.end(error=record.error)
