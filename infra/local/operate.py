"""`make rebuild`, `make cache` and the like: on the running local stack, or on the deployment that the environment names.

With STAGE in the environment it is the deployment of that stage, found by its stack.

python -m infra.local.operate {backfill,verify,rebuild,reindex,redrive} [--tenant NAME]
python -m infra.local.operate key {create,list,revoke} [--tenant NAME --groups A,B --role ROLE …]
python -m infra.local.operate cache {stats,sweep,invalidate,warm,flush} [--args '{"tenant": "default", "dry_run": true}']
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from infra.local.processes import ROOT
from infra.local.stack import ADDRESSES


def main() -> int:
    """Hand over to the function's own command, with the addresses it needs."""
    try:
        addresses = _addresses()
    except LookupError as error:
        print(error.args[0], file=sys.stderr)
        return 1
    os.environ |= {name: value for name, value in addresses.items() if name not in os.environ}
    module, given = ("functions.ingest", sys.argv[1:])
    if given[:1] == ["cache"]:
        module, given = ("functions.cache_maintenance", given[1:])
    elif given[:1] == ["key"]:
        module, given = ("functions.chat", given[1:])
    return subprocess.call([sys.executable, "-m", module, *given])  # noqa: S603 - our own command


def _addresses() -> Mapping[str, str]:
    """Of the deployment that STAGE names, else of the stack that runs here. Raises LookupError with a sentence."""
    if stage := os.environ.get("STAGE"):
        from infra.aws.stacks import name_of, settings_of
        from infra.aws.toolchain import settle_region

        settle_region(os.environ)
        found = settings_of(name_of(stage))
        if found is None:
            raise LookupError(
                f"There is no stack {name_of(stage)} in this account and region. Deploy it: make deploy STAGE={stage}"
            )
        return found
    path = Path(os.environ.get("HEADRACE_FOLDER") or ROOT / ".headrace") / ADDRESSES
    if "REDIS_URL" in os.environ:
        return {}
    if not path.exists():
        raise LookupError(
            "Nothing runs here. Start `make run` in another terminal; or, for a deployment, give STAGE=… and AWS credentials."
        )
    kept: dict[str, str] = json.loads(path.read_text())
    return kept


if __name__ == "__main__":
    sys.exit(main())
