"""Retrieval quality: dense, BM25, and their mixtures side by side, on Python's documentation, Debian's FAQ and its handbook, in five languages.

The line `Headrace` is the product's own path: chunks in the embedded store, ranked by the blended score. The others are
computed here from the same vectors and words. The default of RETRIEVAL_DENSE_WEIGHT is chosen by this table.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import tempfile
from collections import Counter, defaultdict
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headrace.embedders.minilm import load_minilm
from headrace.settings import Settings
from headrace.stores.edge import open_embedded_store
from headrace.text.lexical import K1, USUAL_TERMS, B, chunk_weights, question_weights, terms
from headrace.types import Chunk, EmbeddedChunk, Query, Scope, SearchRequest
from infra.local.processes import ROOT
from tests.bench import corpus, debian_faq, debian_handbook
from tests.bench.corpus import TENANT, Labelled, load

Scores = np.ndarray[Any, Any]
DEPTH = 50
RRF_K = 60
RESAMPLES = 2_000
CACHE = ROOT / ".headrace" / "bench"


async def run() -> None:
    """Print a table for each corpus, or say what is missing."""
    corpora = [(corpus, "Python's documentation", load)]
    corpora += [
        (debian_faq, f"Debian's FAQ ({name})", partial(debian_faq.load, language=name)) for name in ("en", "de")
    ]
    corpora += [
        (debian_handbook, f"the Debian handbook ({name})", partial(debian_handbook.load, language=name))
        for name in debian_handbook.LANGUAGES
    ]
    for module, name, loaded in corpora:
        root = module.folder()
        if root is None:
            print(f"\nquality: {name} is not here.\n{module.__doc__}")
            continue
        chunks, questions = await asyncio.to_thread(loaded, root)
        print(f"\nretrieval quality, {name}: {len(chunks)} chunks, {len(questions)} questions, all-MiniLM-L6-v2")
        await _measure(chunks, questions)


async def _measure(chunks: list[Chunk], questions: list[Labelled]) -> None:
    vectors = await asyncio.to_thread(_embedded, [chunk.text_to_embed for chunk in chunks])
    asked = await asyncio.to_thread(_embedded, [question.text for question in questions])
    dense = asked @ vectors.T
    bm25 = _bm25(chunks, questions)
    words = _words(chunks, questions)
    plain = _words(chunks, questions, rarity=False)
    weight = Settings().retrieval_dense_weight
    rows = {
        "dense": dense,
        "BM25 (rarity from the corpus)": bm25,
        "words (rarity from English)": words,
        f"RRF, k = {RRF_K}": _rrf(dense, bm25),
        "DBSF": _dbsf(dense) + _dbsf(bm25),
        "blend .6, rarity from the corpus": 0.6 * dense + 0.4 * bm25,
        "blend .6, no rarity": 0.6 * dense + 0.4 * plain,
    }
    rows |= {f"blend {w:.2g}": w * dense + (1 - w) * words for w in (0.4, 0.5, 0.6, 0.7, 0.8)}
    places = {(chunk.document_key, chunk.index): place for place, chunk in enumerate(chunks)}
    wanted = [{places[answer] for answer in question.answers} for question in questions]
    kinds = np.array([question.kind for question in questions])
    ranks = {name: _ranks(np.argsort(-scores, axis=1, kind="stable")[:, :10], wanted) for name, scores in rows.items()}
    found = await _by_headrace(chunks, vectors, questions, asked, places, weight)
    ranks[f"Headrace (dense weight {weight:g})"] = _ranks(found, wanted)
    _print(ranks, kinds)


def _print(ranks: dict[str, Scores], kinds: Scores) -> None:
    print(
        f"{'':<34} {'all: MRR@10 (95 % CI)':>24} {'hit@5':>6} {'over dense (95 % CI)':>24} {'FAQ: MRR':>9} {'hit@5':>6} {'identifiers: MRR':>17} {'hit@5':>6}"
    )
    for name, rank in ranks.items():
        gain = _reciprocal(rank) - _reciprocal(ranks["dense"])
        cells = [f"{_reciprocal(rank).mean():.3f} ({_interval(_reciprocal(rank))})", f"{_hit(rank):.3f}"]
        cells += [f"{gain.mean():+.3f} ({_interval(gain)})"]
        for kind in ("faq", "identifier"):
            some = rank[kinds == kind]
            cells += [f"{_reciprocal(some).mean():.3f}", f"{_hit(some):.3f}"] if len(some) else ["", ""]
        widths = (24, 6, 24, 9, 6, 17, 6)
        print(f"{name:<34} " + " ".join(f"{cell:>{width}}" for cell, width in zip(cells, widths, strict=True)))


def _reciprocal(ranks: Scores) -> Scores:
    return np.where(ranks > 0, 1.0 / np.maximum(ranks, 1), 0.0)


def _hit(ranks: Scores) -> float:
    return float(((ranks > 0) & (ranks <= 5)).mean())


def _interval(values: Scores) -> str:
    generator = np.random.default_rng(1)
    means = values[generator.integers(0, len(values), (RESAMPLES, len(values)))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return f"{low:.3f} to {high:.3f}"


def _ranks(order: Sequence[Sequence[int]] | Scores, wanted: list[set[int]]) -> Scores:
    """The place of the first right passage among ten, from 1; 0 when there is none."""
    return np.array(
        [
            next((place for place, chunk in enumerate(row, 1) if chunk in right), 0)
            for row, right in zip(order, wanted, strict=True)
        ]
    )


async def _by_headrace(
    chunks: list[Chunk],
    vectors: Scores,
    questions: list[Labelled],
    asked: Scores,
    places: dict[tuple[str, int], int],
    weight: float,
) -> list[list[int]]:
    with tempfile.TemporaryDirectory() as where:
        async with open_embedded_store(Path(where), collection="quality") as store:
            await store.ensure(vectors.shape[1])
            await store.upsert([EmbeddedChunk(c, v.tolist()) for c, v in zip(chunks, vectors, strict=True)])
            found = []
            for question, vector in zip(questions, asked, strict=True):
                query = Query(question.text, vector.tolist())
                result = await store.search(SearchRequest(Scope(TENANT), [query], 10, dense_weight=weight))
                found.append([places[p.chunk.document_key, p.chunk.index] for p in result.passages])
            return found


def _bm25(chunks: list[Chunk], questions: list[Labelled]) -> Scores:
    """Each term weighted by its rarity in this corpus, as BM25 has it, and shared out so that a question sums to one."""
    counts = [Counter(terms(chunk.text_to_embed)) for chunk in chunks]
    holding = Counter(term for count in counts for term in count)
    where: dict[str, list[tuple[int, float]]] = defaultdict(list)
    for place, count in enumerate(counts):
        norm = K1 * (1 - B + B * count.total() / USUAL_TERMS)
        for term, times in count.items():
            where[term].append((place, times / (times + norm)))
    scores = np.zeros((len(questions), len(chunks)))
    for row, question in enumerate(questions):
        rarity = {t: math.log(1 + (len(chunks) - holding[t] + 0.5) / (holding[t] + 0.5)) for t in terms(question.text)}
        for term, weight in rarity.items():
            for place, share in where.get(term, ()):
                scores[row, place] += weight / sum(rarity.values()) * share
    return scores


def _words(chunks: list[Chunk], questions: list[Labelled], *, rarity: bool = True) -> Scores:
    where: dict[int, list[tuple[int, float]]] = defaultdict(list)
    for place, chunk in enumerate(chunks):
        for term, share in chunk_weights(chunk.text_to_embed).items():
            where[term].append((place, share))
    scores = np.zeros((len(questions), len(chunks)))
    for row, question in enumerate(questions):
        weights = question_weights(question.text)
        for term, weighted in weights.items():
            weight = weighted if rarity else 1 / len(weights)
            for place, share in where.get(term, ()):
                scores[row, place] += weight * share
    return scores


def _rrf(*lists: Scores) -> Scores:
    total = np.zeros_like(lists[0])
    for scores in lists:
        order = np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]
        for row, places in enumerate(order):
            total[row, places] += 1 / (RRF_K + 1 + np.arange(DEPTH))
    return total


def _dbsf(scores: Scores) -> Scores:
    """Distribution-based score fusion, one list's part: the best fifty, scaled by their mean and three deviations."""
    total = np.zeros_like(scores)
    for row, places in enumerate(np.argsort(-scores, axis=1, kind="stable")[:, :DEPTH]):
        best = scores[row, places]
        low, width = best.mean() - 3 * best.std(), 6 * best.std() + 1e-9
        total[row, places] = np.clip((best - low) / width, 0, 1)
    return total


def _embedded(texts: list[str]) -> Scores:
    """The texts' vectors, each kept from one run to the next."""
    path = CACHE / "vectors.npz"
    names = [hashlib.sha256(text.encode()).hexdigest()[:24] for text in texts]
    kept: dict[str, Scores] = {}
    if path.exists():
        with np.load(path) as file:
            kept = dict(zip(file["names"].tolist(), file["vectors"], strict=True))
    new = {name: text for name, text in zip(names, texts, strict=True) if name not in kept}
    if new:
        CACHE.mkdir(parents=True, exist_ok=True)
        items = list(new.items())
        halves = [items[::2], items[1::2]]
        with ProcessPoolExecutor(2) as pool:
            for half, vectors in zip(halves, pool.map(_embed, [[text for _, text in h] for h in halves]), strict=True):
                kept.update(zip((name for name, _ in half), vectors, strict=True))
        np.savez(path, names=np.array(list(kept)), vectors=np.array(list(kept.values()), dtype=np.float32))
    return np.array([kept[name] for name in names], dtype=np.float32)


def _embed(texts: list[str]) -> Scores:
    if not texts:
        return np.zeros((0, 0), dtype=np.float32)
    return np.array(load_minilm().embed(texts), dtype=np.float32)
