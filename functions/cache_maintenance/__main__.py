"""The cache maintenance function's actions, by hand.

    python -m functions.cache_maintenance {stats,sweep,invalidate,warm,flush,write,usage,forget} [--args '{"dry_run": true}']

The arguments are those of the function's event: `tenant`, `dry_run`; `document`, `answer_id` or `question` for invalidate;
`budget` for warm; `checkpoint` for sweep. Of the ledger, `write` takes nothing, `usage` `days` and `tenant`, `forget`
`tenant` and `principal`. The environment is the function's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import math
import sys

from functions.cache_maintenance.ledger import LEDGER_ACTIONS
from functions.cache_maintenance.main import handle, open_dependencies
from functions.cache_maintenance.sweep import ACTIONS
from headrace.errors import HeadraceError


def main() -> int:
    """Read the command line, do it, print what was done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("action", choices=[*ACTIONS, *LEDGER_ACTIONS])
    parser.add_argument("--args", default="{}", help="the event's other fields, as JSON")
    given = parser.parse_args()
    try:
        more = json.loads(given.args)
    except ValueError:
        print(f"--args is not JSON: {given.args}", file=sys.stderr)
        return 2
    return asyncio.run(_run({"action": given.action, **more}))


async def _run(event: dict[str, object]) -> int:
    try:
        async with open_dependencies() as deps:
            done = await handle(event, deps, deadline=math.inf)
    except HeadraceError as error:
        print(error, file=sys.stderr)
        return 1
    print(json.dumps(done, indent=2))
    return 2 if "error" in done else 0


if __name__ == "__main__":
    sys.exit(main())
