"""Expressions and grammars checked byte by byte, by llguidance."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import llguidance

from headrace.constrained.reasons import ConstraintError, short
from headrace.errors import InvalidInputError
from headrace.types import Grammar

END = 256


def check_grammar(grammar: str, what: str) -> None:
    """Raise InvalidInputError when the grammar can't be used. `what` it is begins the sentence."""
    error = llguidance.LLMatcher.validate_grammar(grammar, _tokenizer())
    if error:
        raise InvalidInputError(f"{what} can't be used: {short(error)}")


def of_regex(pattern: str) -> str:
    """The grammar of an expression."""
    return str(llguidance.LLMatcher.grammar_from_regex(pattern))


def match(text: str, grammar: str) -> llguidance.LLMatcher:
    """The matcher behind the text. Raises ConstraintError when the text is none of the grammar's."""
    matcher = llguidance.LLMatcher(_tokenizer(), grammar, log_level=0)
    data = list(text.encode("utf-8", "surrogatepass"))
    taken = matcher.try_consume_tokens(data)
    if taken < len(data):
        before = bytes(data[max(0, taken - 40) : taken]).decode("utf-8", "replace")
        raise ConstraintError(f"It is wrong from byte {taken} on, behind {before!r}.")
    if not matcher.is_accepting():
        raise ConstraintError("It ends too soon.")
    return matcher


def captures_of(text: str, grammar: Grammar) -> dict[str, str]:
    """What the grammar's rules with a `capture` took of the text. Raises ConstraintError."""
    matcher = match(text, grammar.text)
    matcher.try_consume_tokens([END])
    return {name: bytes(taken).decode("utf-8", "replace") for name, taken in matcher.get_captures()}


@cache
def _tokenizer() -> llguidance.LLTokenizer:
    """Every byte is a token."""
    return llguidance.LLTokenizer(llguidance.TokenizerWrapper(_Bytes()), n_vocab=END + 1)


class _Bytes:
    """A vocabulary of bytes, as llguidance asks for one."""

    eos_token_id = END
    bos_token_id = None
    tokens = (*(bytes([byte]) for byte in range(END)), b"<end>")
    special_token_ids = (END,)

    def __call__(self, text: str | bytes) -> Sequence[int]:
        return list(text if isinstance(text, bytes) else text.encode())
