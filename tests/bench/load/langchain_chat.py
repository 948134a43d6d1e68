"""What LangChain's users have: FastAPI and a chain of retriever, prompt, chat model and parser. Served by uvicorn.

MODEL_URL, QDRANT_URL, COLLECTION.
"""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from typing import Any

from fastapi import FastAPI
from fastapi.responses import StreamingResponse
from langchain_core.documents import Document
from langchain_core.output_parsers import StrOutputParser
from langchain_core.prompts import ChatPromptTemplate
from langchain_core.runnables import RunnableLambda, RunnablePassthrough
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from pydantic import BaseModel
from qdrant_client import AsyncQdrantClient

MODEL_URL = os.environ["MODEL_URL"]
app = FastAPI()
model = ChatOpenAI(model="m", base_url=MODEL_URL, api_key="k", streaming=True)


def _context() -> Any:
    # langchain-qdrant's retriever asks synchronously, in a thread; this is what one writes to have it asynchronous.
    store = AsyncQdrantClient(url=os.environ["QDRANT_URL"], check_compatibility=False)
    embeddings = OpenAIEmbeddings(model="e", base_url=MODEL_URL, api_key="k", check_embedding_ctx_length=False)

    async def found(question: str) -> list[Document]:
        vector = await embeddings.aembed_query(question)
        answer = await store.query_points(os.environ["COLLECTION"], query=vector, using="dense", limit=6)
        return [Document(page_content=point.payload["text"]) for point in answer.points if point.payload]

    def joined(docs: list[Document]) -> str:
        return "\n\n".join(doc.page_content for doc in docs)

    return RunnableLambda(found) | RunnableLambda(joined)


chain = (
    {"context": _context(), "question": RunnablePassthrough()}
    | ChatPromptTemplate.from_messages([("system", "{context}"), ("user", "{question}")])
    | model
    | StrOutputParser()
)


class Message(BaseModel):
    role: str
    content: str


class Body(BaseModel):
    messages: list[Message]


@app.post("/v1/chat/completions")
async def chat(body: Body) -> StreamingResponse:
    """The answer's tokens as they come."""

    async def tokens() -> AsyncIterator[str]:
        async for text in chain.astream(body.messages[-1].content):
            if text:
                out = {"choices": [{"index": 0, "delta": {"content": text}}]}
                yield f"data: {json.dumps(out, separators=(',', ':'))}\n\n"
        yield "data: [DONE]\n\n"

    return StreamingResponse(tokens(), media_type="text/event-stream")
