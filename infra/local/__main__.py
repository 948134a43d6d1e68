"""`make run`: the whole of Headrace on this machine, no key, no cloud, no docker.

Reads PORT, S3_PORT, REDIS_URL, OPENAI_API_KEY, OPENAI_BASE_URL, CHAT_MODEL and
EMBEDDING_MODEL from the environment; everything else is in docs/settings.md.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from pathlib import Path

from headrace.errors import HeadraceError
from headrace.settings import EXTRACTIVE_MODEL
from infra.local.processes import ROOT, StackError
from infra.local.stack import Progress, Stack, StackOptions, run_stack


def main() -> int:
    """Run until Ctrl-C; 0 for a clean end, 1 with a sentence for any other."""
    try:
        options = _options()
        return asyncio.run(_serve(options))
    except (StackError, HeadraceError) as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except TimeoutError:
        print("\nThe sample documents were not read in time. See .headrace/logs/ingest.log.", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 0


async def _serve(options: StackOptions) -> int:
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    print("Starting Headrace …", flush=True)
    serving = asyncio.create_task(_until_death(options))
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopping}, return_when=asyncio.FIRST_COMPLETED)
    if not serving.done():
        print("\nEnding …", flush=True)
        serving.cancel()
    stopping.cancel()
    try:
        await serving
    except asyncio.CancelledError:
        print("Ended. What was uploaded and learnt is kept in .headrace/.", flush=True)
    return 0


async def _until_death(options: StackOptions) -> None:
    async with run_stack(options, environ=os.environ, report=Progress()) as stack:
        print(_addresses(stack), flush=True)
        child = await stack.processes.any_death()
        raise StackError(f"{child.name} ended unexpectedly; so everything ends. See {child.log}.")


def _options() -> StackOptions:
    parser = argparse.ArgumentParser(
        prog="make run", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    folder = Path(os.environ.get("HEADRACE_FOLDER") or ROOT / ".headrace")
    parser.add_argument("--folder", type=Path, default=folder, help="where state is kept (default .headrace)")
    parser.add_argument("--port", type=int, default=_port("PORT", 8000), help="the chat app's port (default 8000)")
    parser.add_argument(
        "--s3-port", type=int, default=_port("S3_PORT", 4566), help="the S3 endpoint's port (default 4566)"
    )
    parser.add_argument("--lambda", dest="as_lambda", action="store_true", help="run each function as a Lambda process")
    given = parser.parse_args()
    redis_url = os.environ.get("REDIS_URL", "")
    return StackOptions(given.folder, given.port, given.s3_port, redis_url=redis_url, as_lambda=given.as_lambda)


def _port(variable: str, default: int) -> int:
    text = os.environ.get(variable) or str(default)
    if not (text.isdigit() and 0 < int(text) < 65536):
        raise StackError(f"{variable} is {text!r}, which is no port number. Give one from 1 to 65535.")
    return int(text)


def _addresses(stack: Stack) -> str:
    settings = stack.settings
    writer = "quotes from your documents (no language model is configured)"
    if settings.chat_model != EXTRACTIVE_MODEL:
        writer = f"{settings.chat_model} at {settings.openai_base_url or 'OpenAI'}"
    key, asking = "", "this machine alone (AUTH=none)"
    if settings.auth != "none":
        key, asking = (
            " -H 'authorization: Bearer …'",
            f"whoever shows it (AUTH={settings.auth}); make key ACTION=create",
        )
    return f"""
Headrace is running. Ctrl-C ends it.

  Ask            {stack.url}/
  OpenAI API     {stack.url}/v1
  Documents      {stack.url}/documents
  S3 endpoint    {stack.s3_url}   (bucket {settings.bucket})
  Who may ask    {asking}
  Answers        {writer}
  Functions      {"as Lambda processes" if stack.options.as_lambda else "in local servers"}
  Embeddings     {settings.embedding_model}
  Logs           {stack.options.folder / "logs"}

  Ask on the command line:
    curl -N {stack.url}/chat{key} -H 'content-type: application/json' -d '{{"question": "How many weeks of parental leave are there?"}}'

  Add a document (S3 takes this key alone):
    export AWS_ACCESS_KEY_ID=local AWS_SECRET_ACCESS_KEY=local AWS_DEFAULT_REGION=us-east-1
    aws --endpoint-url {stack.s3_url} s3 cp FILE s3://{settings.bucket}/documents/
"""


if __name__ == "__main__":
    sys.exit(main())
