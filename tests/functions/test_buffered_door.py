"""The chat handler behind buffered doors: one lifespan for many calls, in a process of its own as on Lambda."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = """
import json, sys
from functions.chat import main
from infra.local.lambda_context import LocalContext
opened = []
real = main.open_dependencies
def event(method, path, body=""):
    return {"version": "2.0", "routeKey": "$default", "rawPath": path, "rawQueryString": "", "headers":
            {"content-type": "application/json", "accept": "application/json"}, "body": body, "isBase64Encoded": False,
            "requestContext": {"authorizer": {"iam": {"userArn": "arn:aws:iam::123456789012:user/anna"}}, "http": {"method": method, "path": path, "sourceIp": "1.2.3.4"}, "stage": "$default"}}
answers = []
for call in (event("GET", "/healthz"), event("GET", "/readyz"), event("POST", "/chat", '{"question": "Who wrote Hamlet?"}'),
             event("POST", "/chat", "{")):
    answers.append(main.handler(call, LocalContext("chat", timeout_seconds=30)))
    opened.append(id(main.app.state.dependencies))
main.handler_loop.close()
print(json.dumps({"answers": answers, "opened": len(set(opened))}))
"""


def test_many_buffered_calls_share_one_lifespan(redis_url: str, qdrant_url: str) -> None:
    path = os.pathsep.join((str(ROOT), str(ROOT / "shared")))
    # A database of its own: other tests index the default tenant with another embedding model.
    redis_url = f"{redis_url.removesuffix('/0')}/5"
    environment = {**os.environ, "PYTHONPATH": path, "REDIS_URL": redis_url, "QDRANT_URL": qdrant_url, "AUTH": "iam"}
    command = [sys.executable, "-W", "error", "-c", SCRIPT]
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert result.returncode == 0, result.stderr[-2000:]
    report = json.loads(result.stdout.splitlines()[-1])
    assert report["opened"] == 1
    assert [answer["statusCode"] for answer in report["answers"]] == [200, 200, 200, 400]
    assert json.loads(report["answers"][2]["body"])["mode"] == "refused"
