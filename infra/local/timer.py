"""EventBridge Scheduler on a laptop: invokes the cache maintenance function now and then.

python -m infra.local.timer [--seconds 300] [--lambda]
"""

from __future__ import annotations

import argparse
import logging
import time
from datetime import UTC, datetime

from infra.local.invoker import invoker

logger = logging.getLogger(__name__)


def main() -> None:
    """Invoke for ever, a fixed time apart."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=300.0, help="between two invocations (default 300)")
    parser.add_argument("--lambda", dest="as_lambda", action="store_true", help="run the function as a Lambda process")
    given = parser.parse_args()
    handler = "functions.cache_maintenance.main.handler"
    with invoker("cache-maintenance", handler, timeout_seconds=given.seconds, as_lambda=given.as_lambda) as invoke:
        while True:
            try:
                invoke({"source": "aws.scheduler", "time": datetime.now(UTC).isoformat()})
            except Exception:
                logger.exception("the cache maintenance function failed")
            time.sleep(given.seconds)


if __name__ == "__main__":
    main()
