"""What a filter means, read off the documentation and written without a look at the product: stores are held to it."""

from __future__ import annotations

import random
from typing import Any

from headrace.types import Chunk

HOSTILE = (
    "a", "A", "b", "a b", " a", "a ", "a,b", "a|b", "{a}", "*", "a*", "-a", "@page:[1 2]", "'", '"', "\\", "%", "$", "$p0",
    "(", ")", "ü", "Ü", "u\u0308", "日本", "🙂", "\t", "\u200b", "null", "None", "1", "1.0", "true", "x" * 300, "a\x1fb", "=", "..",
)  # fmt: skip
PAGES = (None, 1, 2, 3, 7, 2020, 10**6)
NUMBERS = (0, 1, 2, 2.0, 2.5, 3, 7, -1, 2020, 2020.0, 1e6, 10**6 + 1, 0.1, 2**53, -(2**53))


def holds(expression: dict[str, Any], chunk: Chunk) -> bool:
    """Whether the chunk is wanted."""
    for key, value in expression.items():
        if key == "$and":
            ok = not [part for part in value if not holds(part, chunk)]
        elif key == "$or":
            ok = len([part for part in value if holds(part, chunk)]) > 0
        else:
            operators = value if isinstance(value, dict) else {"$eq": value}
            ok = not [1 for name, operand in operators.items() if not _field_holds(chunk, key, name, operand)]
        if not ok:
            return False
    return True


def _field_holds(chunk: Chunk, field: str, name: str, operand: Any) -> bool:
    fields: dict[str, list[Any]] = {
        "document": [chunk.document_key],
        "name": [chunk.name],
        "section": list(chunk.section),
        "tags": list(chunk.tags),
        "language": [chunk.language] if chunk.language else [],
        "page": [] if chunk.page is None else [chunk.page],
    }
    held = fields[field]
    if name == "$exists":
        return (len(held) > 0) == operand
    if name in {"$ne", "$nin"}:
        unwanted = [operand] if name == "$ne" else operand
        return all(value not in unwanted for value in held)
    for value in held:
        if name == "$eq" and value == operand:
            return True
        if name == "$in" and value in operand:
            return True
        if (name == "$gt" and value > operand) or (name == "$lt" and value < operand):
            return True
        if (name == "$gte" and value >= operand) or (name == "$lte" and value <= operand):
            return True
    return False


def random_chunks(generator: random.Random, tenant: str, count: int) -> list[Chunk]:
    """Chunks with every kind of name, section and page."""
    made = []
    for index in range(count):
        name = generator.choice(HOSTILE).replace("/", "_") + generator.choice(("", ".txt", "é"))
        sections = tuple(generator.sample(HOSTILE, generator.randrange(4)))
        page = generator.choice(PAGES)
        tags = tuple(generator.sample(HOSTILE, generator.randrange(3)))
        labels: dict[str, Any] = {"tags": tags, "language": generator.choice(("", "en", "de"))}
        made.append(Chunk(f"documents/{tenant}/{name}", 1, index, f"text {index}", page, sections, **labels))
    return made


def random_filter(generator: random.Random, tenant: str, depth: int = 0) -> dict[str, Any]:
    """An expression of the whole language."""
    expression: dict[str, Any] = {}
    for _ in range(generator.choice((0, 1, 1, 1, 2, 3))):
        kind = generator.random()
        if kind < 0.25 and depth < 3:
            parts = [random_filter(generator, tenant, depth + 1) for _ in range(generator.randint(1, 3))]
            expression[generator.choice(("$and", "$or"))] = parts
        elif kind < 0.55:
            expression["page"] = _condition(generator, lambda: generator.choice(NUMBERS), ordered=True)
        else:
            field = generator.choice(("name", "section", "tags", "language", "document"))
            expression[field] = _condition(
                generator, lambda field=field: _text(generator, tenant, field), ordered=False
            )
    return expression


def _text(generator: random.Random, tenant: str, field: str) -> str:
    text = generator.choice(("en", "de", "") if field == "language" else (*HOSTILE, ""))
    return f"documents/{tenant}/{text}" if field == "document" else text


def _condition(generator: random.Random, value: Any, *, ordered: bool) -> Any:
    if generator.random() < 0.3:
        return value()
    operators = ["$eq", "$ne", "$in", "$nin", "$exists"] + (["$gt", "$gte", "$lt", "$lte"] if ordered else [])
    condition: dict[str, Any] = {}
    for name in generator.sample(operators, generator.choice((1, 1, 2))):
        if name == "$exists":
            condition[name] = generator.random() < 0.5
        elif name in {"$in", "$nin"}:
            condition[name] = [value() for _ in range(generator.randint(1, 4))]
        else:
            condition[name] = value()
    return condition
