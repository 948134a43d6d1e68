"""`make bench`: runs each bench by name, or all. A bench prints a table and asserts nothing.

python -m tests.bench [chat model runtime stores ingest upload quality cache judge single_flight runs hostile overload answers documents ledger peers]
"""

from __future__ import annotations

import asyncio
import sys
from importlib import import_module

BENCHES = (
    "chat",
    "model",
    "runtime",
    "stores",
    "ingest",
    "upload",
    "quality",
    "cache",
    "judge",
    "single_flight",
    "runs",
    "hostile",
    "overload",
    "answers",
    "documents",
    "ledger",
    "peers",
)


def main() -> int:
    """Run the benches named on the command line."""
    names = sys.argv[1:] or list(BENCHES)
    unknown = set(names) - set(BENCHES)
    if unknown:
        print(f"There is no bench {min(unknown)!r}. There are: {', '.join(BENCHES)}.", file=sys.stderr)
        return 2
    for name in names:
        asyncio.run(import_module(f"tests.bench.{name}").run())
    return 0


if __name__ == "__main__":
    sys.exit(main())
