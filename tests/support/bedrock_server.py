"""Amazon Bedrock's InvokeModel for embeddings, as its reference has it; every request's signature is checked with botocore.

References: https://docs.aws.amazon.com/bedrock/latest/APIReference/API_runtime_InvokeModel.html, the models' pages beside it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from botocore.credentials import Credentials
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from tests.support.openai_server import bag_of_words
from tests.support.signatures import is_signed

KEY_ID, SECRET = "AKIDBEDROCK", "bedrock/secret"
TITAN = "amazon.titan-embed-text-v2:0"
COHERE = "cohere.embed-multilingual-v3"
DIMENSIONS = 32


@dataclass
class BedrockScript:
    """What the server does: `fail` lists statuses, used up one a call; `models` are those that the account may use."""

    fail: list[int] = field(default_factory=list)
    models: Sequence[str] = (TITAN, COHERE)
    calls: int = 0


def bedrock_app(script: BedrockScript) -> Starlette:
    """The server."""

    async def invoke(request: Request) -> Response:
        script.calls += 1
        body = await request.body()
        path = request.scope["raw_path"].decode().partition("?")[0]
        if not is_signed(
            "POST", path, request.headers, body, credentials=Credentials(KEY_ID, SECRET), scope=("us-west-2", "bedrock")
        ):
            return _refused(403, "The request signature we calculated does not match the signature you provided.")
        if script.fail:
            return _refused(script.fail.pop(0), "Too many requests, please wait before trying again.")
        model = unquote(path.split("/")[2])
        if model not in script.models:
            return _refused(403, "You don't have access to the model with the specified model ID.")
        given = json.loads(body)
        if model == TITAN:
            if not given["inputText"] or len(given["inputText"]) > 50_000:
                return _refused(400, "Malformed input request: expected minLength: 1, please reformat your input.")
            return JSONResponse({"embedding": bag_of_words(given["inputText"], DIMENSIONS), "inputTextTokenCount": 3})
        texts = given["texts"]
        if (
            not 1 <= len(texts) <= 96
            or given["input_type"] not in {"search_document", "search_query"}
            or not all(texts)
        ):
            return _refused(400, "Malformed input request, please reformat your input and try again.")
        vectors = [bag_of_words(text, DIMENSIONS) for text in texts]
        return JSONResponse({"embeddings": vectors, "id": "x", "response_type": "embeddings_floats", "texts": texts})

    return Starlette(routes=[Route("/model/{model}/invoke", invoke, methods=["POST"])])


def _refused(status: int, message: str) -> JSONResponse:
    return JSONResponse({"message": message}, status_code=status)
