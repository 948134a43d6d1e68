"""The guaranteed form of an answer, as requests ask for it: OpenAI's `response_format`, and `structured_outputs` as in vLLM."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from headrace.errors import InvalidInputError, UnsupportedParameterError
from headrace.protocols import Answerer
from headrace.types import Choice, Constraint, Grammar, JsonSchema, Regex

MOST_SCHEMA_CHARACTERS = 50_000
MOST_OPTIONS = 500
# A constraint is looked through in milliseconds; one that takes longer means to.
CHECK_SECONDS = 5.0
Name = Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[\w.-]+$")]


class _Form(BaseModel):
    model_config = ConfigDict(extra="forbid")


class SchemaForm(_Form):
    """OpenAI's `json_schema`."""

    name: Name = "answer"
    description: str | None = Field(default=None, max_length=2_000)
    schema_: dict[str, Any] = Field(alias="schema")
    strict: bool | None = None


class ResponseFormat(_Form):
    """OpenAI's `response_format`."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: SchemaForm | None = None


class TextFormat(_Form):
    """OpenAI's `text.format` in Responses."""

    type: Literal["text", "json_object", "json_schema"]
    name: Name | None = None
    description: str | None = Field(default=None, max_length=2_000)
    schema_: dict[str, Any] | None = Field(default=None, alias="schema")
    strict: bool | None = None

    def as_response_format(self) -> ResponseFormat:
        """The same in the words of Chat Completions."""
        if self.schema_ is None:
            return ResponseFormat(type=self.type)
        form = SchemaForm(name=self.name or "answer", schema=self.schema_, strict=self.strict)
        return ResponseFormat(type=self.type, json_schema=form)


class StructuredOutputs(_Form):
    """One of four forms. Beside a grammar, an expression that allows the same may stand, which more servers enforce."""

    json_: dict[str, Any] | None = Field(default=None, alias="json")
    choice: (
        Annotated[
            list[Annotated[str, Field(min_length=1, max_length=500)]], Field(min_length=1, max_length=MOST_OPTIONS)
        ]
        | None
    ) = None
    regex: str | None = Field(default=None, min_length=1, max_length=2_000)
    grammar: str | None = Field(default=None, min_length=1, max_length=20_000)


def constraint_in(given: ResponseFormat | None, outputs: StructuredOutputs | None) -> Constraint | None:
    """The constraint that a request asks for. Raises InvalidInputError."""
    formats = _of_format(given)
    others = [] if outputs is None else _of_outputs(outputs)
    if outputs is not None and len(others) != 1:
        raise InvalidInputError(
            "`structured_outputs` has exactly one of json, choice, regex and grammar.", param="structured_outputs"
        )
    if formats and others:
        raise InvalidInputError(
            "An answer has one form: leave out `response_format` or `structured_outputs`.", param="structured_outputs"
        )
    return next(iter([*formats, *others]), None)


async def check_form(constraint: Constraint | None, answerer: Answerer, *, param: str) -> None:
    """Raise InvalidInputError for a constraint that can't be used, or that this answerer does not keep to."""
    if constraint is None:
        return
    if not answerer.keeps_forms:
        raise UnsupportedParameterError(
            f"`{param}` is not kept by this model: quotes, and answers that may call tools, have no guaranteed form. Leave it "
            "out, or ask 'headrace' without tools, where a language model is configured (CHAT_MODEL).",
            param=param,
        )
    if isinstance(constraint, JsonSchema) and len(json.dumps(constraint.schema)) > MOST_SCHEMA_CHARACTERS:
        raise InvalidInputError(f"The schema has more than {MOST_SCHEMA_CHARACTERS:,} characters.", param=param)
    from headrace.constrained.checking import check_constraint

    try:
        async with asyncio.timeout(CHECK_SECONDS):
            await asyncio.to_thread(check_constraint, constraint)
    except TimeoutError:
        raise InvalidInputError("The form is too complex to be checked. Make it simpler.", param=param) from None
    except InvalidInputError as error:
        raise InvalidInputError(str(error), param=param) from None


def _of_format(given: ResponseFormat | None) -> list[Constraint]:
    if given is None or given.type == "text":
        return []
    if given.type == "json_object":
        return [JsonSchema("object", {"type": "object"}, strict=False)]
    if given.json_schema is None:
        raise InvalidInputError("A `json_schema` is asked for, and no schema is there.", param="response_format")
    form = given.json_schema
    return [JsonSchema(form.name, form.schema_, strict=bool(form.strict))]


def _of_outputs(outputs: StructuredOutputs) -> list[Constraint]:
    found: list[Constraint] = []
    if outputs.json_ is not None:
        found.append(JsonSchema("answer", outputs.json_, strict=False))
    if outputs.choice is not None:
        found.append(Choice(tuple(outputs.choice)))
    if outputs.grammar is not None:
        found.append(Grammar(outputs.grammar, outputs.regex or ""))
    elif outputs.regex is not None:
        found.append(Regex(outputs.regex))
    return found
