"""What a tutorial has: FastAPI, the openai client, qdrant-client; one prompt, one stream. Served by uvicorn.

MODEL_URL, QDRANT_URL, COLLECTION.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from openai import AsyncOpenAI
from pydantic import BaseModel
from qdrant_client import AsyncQdrantClient

client = AsyncOpenAI(base_url=os.environ["MODEL_URL"], api_key="k")
app = FastAPI()
store = AsyncQdrantClient(url=os.environ["QDRANT_URL"], check_compatibility=False)


class Message(BaseModel):
    role: str
    content: str


class Body(BaseModel):
    messages: list[Message]


async def _passages(question: str) -> str:
    embedded = await client.embeddings.create(model="e", input=question)
    found = await store.query_points(os.environ["COLLECTION"], query=embedded.data[0].embedding, using="dense", limit=6)
    return "\n\n".join(point.payload["text"] for point in found.points if point.payload)


@app.post("/v1/chat/completions")
async def chat(body: Body) -> StreamingResponse:
    """The answer's tokens as they come."""
    question = body.messages[-1].content

    async def tokens() -> AsyncIterator[str]:
        system = await _passages(question)
        messages: Any = [{"role": "system", "content": system}, {"role": "user", "content": question}]
        async for chunk in await client.chat.completions.create(model="m", messages=messages, stream=True):
            if chunk.choices and (text := chunk.choices[0].delta.content):
                out = {"choices": [{"index": 0, "delta": {"content": text}}]}
                yield f"data: {json.dumps(out, separators=(',', ':'))}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(tokens(), media_type="text/event-stream")
