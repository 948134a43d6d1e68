"""API keys: make one, list them, revoke one. The environment is the chat function's (REDIS_URL).

    python -m functions.chat create --tenant acme --groups hr,board --role writer --label "Anna's laptop" --days 90
    python -m functions.chat list
    python -m functions.chat revoke 0123456789abcdef

A key is shown once, when it is made; what is kept of it can't open anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from dataclasses import replace
from typing import Any

from headrace import wiring
from headrace.auth.api_keys import new_key
from headrace.errors import HeadraceError
from headrace.protocols import ApiKeys
from headrace.types import ApiKey, Role, read_principal

DAY_SECONDS = 86_400.0


def main() -> int:
    """Read the command line, do it, print what was done."""
    given = _parser().parse_args()
    try:
        return asyncio.run(_run(given))
    except (HeadraceError, ValueError) as error:
        print(error, file=sys.stderr)
        return 1


async def _run(given: argparse.Namespace) -> int:
    settings = await wiring.read_settings(os.environ)
    async with wiring.open_redis(settings) as redis:
        keys = wiring.api_keys_on(redis)
        match given.action:
            case "create":
                return await _create(keys, given)
            case "revoke":
                return await _revoke(keys, given.id)
            case _:
                return await _list(keys)


async def _create(keys: ApiKeys, given: argparse.Namespace) -> int:
    wanted: dict[str, Any] = {
        name: getattr(given, name)
        for name in ("tenant", "groups", "role", "requests_per_minute", "streams", "tokens_per_day")
    }
    expires_at = None if given.days is None else time.time() + given.days * DAY_SECONDS
    key, record = new_key(
        read_principal(wanted, id=given.principal or "unnamed"), label=given.label, expires_at=expires_at
    )
    if not given.principal:
        record = _named_after_itself(record)
    await keys.save(record)
    print(json.dumps(record.describe(), indent=2))
    print(f"\nThe key, which is shown this once:\n\n  {key}\n")
    print(
        "A client sends it as `Authorization: Bearer …`. Where a deployment has no Redis to look keys up in, put this record"
    )
    print(f"into API_KEYS, a JSON list:\n\n  {record.to_json()}")
    return 0


def _named_after_itself(record: ApiKey) -> ApiKey:
    """A key that belongs to nobody in particular is a principal of its own: its conversations and limits are its own."""
    return replace(record, principal=replace(record.principal, id=f"key:{record.id}"))


async def _revoke(keys: ApiKeys, key_id: str) -> int:
    if await keys.revoke(key_id):
        print(f"The key {key_id} holds no more.")
        return 0
    print(f"There is no key {key_id}. `make key` lists those that there are.", file=sys.stderr)
    return 1


async def _list(keys: ApiKeys) -> int:
    for record in await keys.all():
        who = record.principal
        expired = "" if record.expires_at is None else f"  until {_date(record.expires_at)}"
        groups = f" ({', '.join(sorted(who.groups))})" if who.groups else ""
        print(
            f"{record.id}  {_date(record.created_at)}  {who.tenant}{groups}  {who.id}  {who.role}{expired}  {record.label}"
        )
    return 0


def _date(seconds: float) -> str:
    return time.strftime("%Y-%m-%d", time.gmtime(seconds))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="make key", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    actions = parser.add_subparsers(dest="action", required=True)
    create = actions.add_parser("create", help="make a key, and show it once")
    create.add_argument("--tenant", default="default", help="whose documents it opens (default: default)")
    create.add_argument("--groups", default="", help="groups it is in, separated by commas")
    create.add_argument("--role", default="reader", choices=[*Role], help="what it may do (default: reader)")
    create.add_argument(
        "--principal", default="", help="whom it speaks for; several keys of one share limits (default: itself)"
    )
    create.add_argument("--label", default="", help="a note for whoever lists the keys")
    create.add_argument("--days", type=float, help="how long it holds (default: until it is revoked)")
    create.add_argument("--requests-per-minute", type=int, help="instead of REQUESTS_PER_MINUTE")
    create.add_argument("--streams", type=int, help="requests under way at once, instead of STREAMS_PER_PRINCIPAL")
    create.add_argument("--tokens-per-day", type=int, help="instead of TOKENS_PER_DAY; 0: any number")
    actions.add_parser("list", help="show all keys")
    revoke = actions.add_parser("revoke", help="a key holds no more, from now on")
    revoke.add_argument("id", help="its id, as the list shows it")
    return parser


if __name__ == "__main__":
    sys.exit(main())
