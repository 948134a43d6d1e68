"""OpenAI's `/embeddings`, with the same vector for every text, 60 ms after it was asked: a bench of who asks, not of who embeds.

python -m tests.bench.embedding_server PORT
"""

from __future__ import annotations

import asyncio
import base64
import json
import struct
import sys
from typing import Any

import uvicorn

ANSWER_SECONDS = 0.06
DIMENSIONS = 384
FLOATS = [1 / DIMENSIONS**0.5] * DIMENSIONS
PACKED = base64.b64encode(struct.pack(f"<{DIMENSIONS}f", *FLOATS)).decode()


async def app(scope: Any, receive: Any, send: Any) -> None:
    """The ASGI application."""
    if scope["type"] != "http":
        return
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            break
    await asyncio.sleep(ANSWER_SECONDS)
    asked = json.loads(body or b"{}")
    vector: object = PACKED if asked.get("encoding_format") == "base64" else FLOATS
    data = [{"object": "embedding", "index": i, "embedding": vector} for i in range(len(asked.get("input", [])))]
    usage = {"prompt_tokens": 1, "total_tokens": 1}
    answer = json.dumps({"object": "list", "model": "bench", "data": data, "usage": usage}).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", str(len(answer)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": answer})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", lifespan="off")
