"""OpenAI's parameters, each in one of three classes: honoured, unused, or refused. None is ignored in silence.

The request bodies declare what is honoured, and hand the rest here. Names are those of the published schemas:
https://platform.openai.com/docs/api-reference
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from headrace.errors import UnsupportedParameterError

FUNCTIONS = "It is the older form of `tools`. Send these."
TEXT = "Answers are text with citations. Leave it out, and read the text."


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a parameter is refused, and the values of it that ask for nothing, which are not."""

    advice: str
    neutral: tuple[Any, ...] = ()


@dataclass(frozen=True, slots=True)
class Parameters:
    """The parameters of one route that its body does not declare.

    `unused` are harmless: they are named in the answer's `headrace.unused`, and change nothing.
    """

    unused: frozenset[str]
    refused: Mapping[str, Refusal]

    def check(self, given: Mapping[str, Any] | None) -> list[str]:
        """The names of those that are unused. Raises UnsupportedParameterError for the first one that is refused."""
        unused = []
        for name, value in (given or {}).items():
            if value is None:
                continue
            if name in self.unused:
                unused.append(name)
                continue
            refusal = self.refused.get(name, UNKNOWN)
            # 0 and False are equal, and do not ask for the same.
            if not any(value == one and type(value) is type(one) for one in refusal.neutral):
                raise UnsupportedParameterError(f"`{name}` is not supported here. {refusal.advice}", param=name)
        return unused


UNKNOWN = Refusal("No such parameter is known: correct its name, or leave it out.")

_BOTH = frozenset(
    {
        "metadata", "prompt_cache_key", "prompt_cache_options", "prompt_cache_retention",
        "safety_identifier", "service_tier", "user",
    }
)  # fmt: skip

CHAT = Parameters(
    unused=_BOTH | {"prediction", "store"},
    refused={
        "audio": Refusal(TEXT),
        "function_call": Refusal(FUNCTIONS, ("none", "auto")),
        "functions": Refusal(FUNCTIONS, ([],)),
        "logit_bias": Refusal("Say in a system message what words to use or to avoid.", ({},)),
        "logprobs": Refusal("There are no log probabilities here. Leave it out.", (False,)),
        "modalities": Refusal(TEXT, (["text"],)),
        "moderation": Refusal("Nothing is moderated here. Leave it out."),
        "n": Refusal("One answer is made at a time. Ask once more for another one.", (1,)),
        "top_logprobs": Refusal("There are no log probabilities here. Leave it out.", (0,)),
        "web_search_options": Refusal("Answers come from the documents alone. Leave it out."),
    },
)

RESPONSES = Parameters(
    unused=(_BOTH - {"metadata"})
    | {"access_programs", "background_options", "max_tool_calls", "stream_options", "truncation"},
    refused={
        "background": Refusal("An answer is made while its request waits or streams. Leave it out.", (False,)),
        "context_management": Refusal("The conversation is bounded here already. Leave it out.", ([],)),
        "conversation": Refusal("Go on from an earlier response with `previous_response_id`."),
        "image": Refusal(TEXT),
        "include": Refusal("There is nothing more to include. Leave it out.", ([],)),
        "moderation": Refusal("Nothing is moderated here. Leave it out."),
        "prompt": Refusal("No prompts are kept here. Send its text as `instructions`."),
        "top_logprobs": Refusal("There are no log probabilities here. Leave it out.", (0,)),
    },
)

REASONING = Parameters(
    unused=frozenset(),
    refused={
        "context": Refusal("Leave it out.", ("auto",)),
        "generate_summary": Refusal("There is no summary of what a model thinks. Leave it out."),
        "mode": Refusal("Leave it out.", ("standard",)),
        "summary": Refusal("There is no summary of what a model thinks. Leave it out."),
    },
)
RESPONSE_TEXT = Parameters(unused=frozenset(), refused={})

EMBEDDINGS = Parameters(unused=frozenset({"user"}), refused={})
