"""`make rebuild`, `make cache` and the like: on the running local stack, or on the deployment that the environment names.

python -m infra.local.operate {backfill,verify,rebuild,reindex,redrive} [--tenant NAME]
python -m infra.local.operate key {create,list,revoke} [--tenant NAME --groups A,B --role ROLE …]
python -m infra.local.operate cache {stats,sweep,invalidate,warm,flush} [--args '{"tenant": "default", "dry_run": true}']
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from infra.local.processes import ROOT
from infra.local.stack import ADDRESSES


def main() -> int:
    """Hand over to the function's own command, with the addresses it needs."""
    path = Path(os.environ.get("HEADRACE_FOLDER") or ROOT / ".headrace") / ADDRESSES
    if "REDIS_URL" not in os.environ:
        if not path.exists():
            print(
                "Nothing runs here. Start `make run` in another terminal; or, for a deployment, set REDIS_URL, BUCKET, "
                "the vector store's and the embedding model's settings (docs/settings.md), and AWS credentials.",
                file=sys.stderr,
            )
            return 1
        os.environ |= {name: value for name, value in json.loads(path.read_text()).items() if name not in os.environ}
    module, given = ("functions.ingest", sys.argv[1:])
    if given[:1] == ["cache"]:
        module, given = ("functions.cache_maintenance", given[1:])
    elif given[:1] == ["key"]:
        module, given = ("functions.chat", given[1:])
    return subprocess.call([sys.executable, "-m", module, *given])  # noqa: S603 - our own command


if __name__ == "__main__":
    sys.exit(main())
