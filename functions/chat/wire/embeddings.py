"""Vectors in the form of OpenAI's Embeddings API: as numbers, or as base64 of little-endian single floats.

Reference: https://platform.openai.com/docs/api-reference/embeddings
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Sequence
from typing import Any

from functions.chat.wire.openai_bodies import EmbeddingBody


def payload(
    body: EmbeddingBody, vectors: Sequence[Sequence[float]], tokens: int, unused: Sequence[str]
) -> dict[str, Any]:
    """The vectors, in the order of the request's texts. `unused` are the request's parameters that changed nothing."""
    encode = _packed if body.encoding_format == "base64" else list
    return {
        "object": "list",
        "model": body.model,
        "data": [
            {"object": "embedding", "index": index, "embedding": encode(vector)} for index, vector in enumerate(vectors)
        ],
        "usage": {"prompt_tokens": tokens, "total_tokens": tokens},
        "headrace": {"unused": list(unused)},
    }


def _packed(vector: Sequence[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
