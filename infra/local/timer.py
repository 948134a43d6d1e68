"""EventBridge Scheduler on a laptop: invokes the cache maintenance function now and then.

python -m infra.local.timer [SECONDS]
"""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime

from functions.cache_maintenance.main import handler
from infra.local.lambda_context import LocalContext

DEFAULT_SECONDS = 300.0


def main() -> None:
    """Invoke for ever, a fixed time apart."""
    every_seconds = float(sys.argv[1]) if len(sys.argv) > 1 else DEFAULT_SECONDS
    while True:
        event = {"action": "sweep", "time": datetime.now(UTC).isoformat()}
        handler(event, LocalContext("cache-maintenance", timeout_seconds=every_seconds))
        time.sleep(every_seconds)


if __name__ == "__main__":
    main()
