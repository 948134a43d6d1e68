"""What every embedder promises."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack

import pytest

from headrace.clients.aws import AwsAccess
from headrace.clients.sigv4 import AwsKeys
from headrace.embedders.bedrock import open_bedrock_embedder
from headrace.embedders.minilm import MiniLM, MiniLMEmbedder, open_minilm_embedder
from headrace.embedders.openai import OpenAIEmbedder, open_openai_embedder
from headrace.errors import ConfigurationError, EmbedderUnavailableError, RefusedError
from headrace.protocols import Embedder
from tests.support.bedrock_server import COHERE, KEY_ID, SECRET, TITAN, BedrockScript, bedrock_app
from tests.support.http import served
from tests.support.openai_server import Script

TEXTS = ["the pump takes oil", "parents may take leave", "oil for the pump", "x" * 4000, "", "déjà vu 你好 🙂"] * 4


@pytest.fixture
async def openai_embedder(openai_url: str, stack: AsyncExitStack) -> OpenAIEmbedder:
    opening = open_openai_embedder(api_key="k", base_url=openai_url, model="test-embedding", batch=5)
    return await stack.enter_async_context(opening)


@pytest.fixture
def bedrock_script() -> BedrockScript:
    return BedrockScript()


@pytest.fixture
async def bedrock_access(bedrock_script: BedrockScript, stack: AsyncExitStack) -> AwsAccess:
    url = await stack.enter_async_context(served(bedrock_app(bedrock_script)))
    return AwsAccess("us-west-2", AwsKeys(KEY_ID, SECRET), url)


@pytest.fixture(params=["minilm", "openai", TITAN, COHERE])
async def any_embedder(
    request: pytest.FixtureRequest,
    embedder: MiniLMEmbedder,
    openai_embedder: OpenAIEmbedder,
    bedrock_access: AwsAccess,
    stack: AsyncExitStack,
) -> Embedder:
    embedders: dict[str, Embedder] = {"minilm": embedder, "openai": openai_embedder}
    if request.param in embedders:
        return embedders[request.param]
    return await stack.enter_async_context(open_bedrock_embedder(bedrock_access, model=request.param))


def cosine(a: Sequence[float], b: Sequence[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True))


async def test_vectors_come_in_order_with_length_one_and_one_dimension(any_embedder: Embedder) -> None:
    vectors = await any_embedder.embed(TEXTS)
    assert len(vectors) == len(TEXTS)
    assert len({len(vector) for vector in vectors}) == 1
    assert all(math.isclose(cosine(v, v), 1.0, abs_tol=1e-4) for v in vectors)
    assert all(cosine(vectors[i], vectors[i + 6]) > 0.9999 for i in range(6)), "equal texts, equal vectors"


async def test_texts_that_speak_of_the_same_are_near(any_embedder: Embedder) -> None:
    pump, leave, oil = (await any_embedder.embed(TEXTS))[:3]
    assert cosine(pump, oil) > cosine(pump, leave) + 0.2


async def test_no_texts_no_vectors(any_embedder: Embedder) -> None:
    assert await any_embedder.embed([]) == []


async def test_a_batch_does_not_change_a_vector(any_embedder: Embedder) -> None:
    gather_all = await any_embedder.embed(TEXTS[:6])
    (alone,) = await any_embedder.embed(TEXTS[:1])
    assert cosine(alone, gather_all[0]) > 0.99999


async def test_minilm_agrees_with_the_published_model(embedder: MiniLMEmbedder) -> None:
    """Reference values: sentence-transformers 5 with torch, all-MiniLM-L6-v2, for these two sentences."""
    first, second = await embedder.embed(["That is a happy person", "That is a very happy person"])
    assert cosine(first, second) == pytest.approx(0.9429, abs=2e-3)


async def test_a_failing_server_is_unavailable(openai_embedder: OpenAIEmbedder, script: Script) -> None:
    script.fail = ["broken"] * 30
    with pytest.raises(EmbedderUnavailableError, match="test-embedding"):
        await openai_embedder.embed(TEXTS)


async def test_a_refused_key_is_a_configuration_error(openai_embedder: OpenAIEmbedder, script: Script) -> None:
    script.api_key = "another"
    with pytest.raises(ConfigurationError, match="OPENAI_API_KEY"):
        await openai_embedder.check()


async def test_a_text_that_is_refused_does_not_take_its_neighbours_with_it(
    openai_embedder: OpenAIEmbedder, script: Script
) -> None:
    script.refused_text = "bad"
    with pytest.raises(RefusedError, match="can't be embedded"):
        await openai_embedder.embed(["good", "fine", "bad", "well", "right"])
    asked = [request["input"] for request in script.requests]
    assert ["bad"] in asked
    assert ["good", "fine"] in asked
    assert {request["encoding_format"] for request in script.requests} == {"base64"}


async def test_vectors_of_several_lengths_are_no_vectors(openai_embedder: OpenAIEmbedder, script: Script) -> None:
    script.uneven = True
    with pytest.raises(EmbedderUnavailableError, match="of several"):
        await openai_embedder.embed(["a", "b"])


async def test_bedrock_is_asked_with_a_signature_and_no_key(
    openai_url: str, script: Script, stack: AsyncExitStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    credentials = {"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_REGION": "eu-central-1"}
    for name, value in credentials.items():
        monkeypatch.setenv(name, value)
    opening = open_openai_embedder(
        api_key="", base_url=openai_url, model="amazon.titan-embed-text-v2:0", batch=5, provider="bedrock"
    )
    embedder = await stack.enter_async_context(opening)
    assert len(await embedder.embed(["a", "b"])) == 2
    [authorization] = script.authorizations
    assert authorization.startswith("AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/")
    assert "/eu-central-1/" in authorization
    assert "secret" not in authorization


async def test_who_asks_at_the_same_time_is_embedded_together(minilm: MiniLM, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[list[str]] = []

    def embed(texts: Sequence[str]) -> list[Sequence[float]]:
        calls.append(list(texts))
        return MiniLM.embed(minilm, texts)

    monkeypatch.setattr(minilm, "embed", embed)
    questions = [f"How long is leave in year {number}?" for number in range(20)]
    async with open_minilm_embedder("all-MiniLM-L6-v2", network=minilm) as embedder:
        document = asyncio.create_task(embedder.embed(["Leave is granted for as long as the year. " * 20] * 100))
        await asyncio.sleep(0)
        asked = [asyncio.create_task(embedder.embed([question])) for question in questions]
        await asyncio.sleep(0)
        asked[3].cancel()
        alone = [vector for task in asked if task is not asked[3] for vector in await task]
        await document
        expected = MiniLM.embed(minilm, [question for question in questions if question != questions[3]])
    assert [len(texts) for texts in calls[:3]] == [16, 16, 3], "a question waits for one batch of a document"
    assert questions[3] not in {text for texts in calls for text in texts}, "who leaves is not waited for"
    for vector, other in zip(alone, expected, strict=True):
        assert cosine(vector, other) > 0.9999


@pytest.mark.parametrize("model", [TITAN, COHERE])
async def test_bedrock_is_asked_again_when_it_has_too_much_to_do(
    bedrock_access: AwsAccess, bedrock_script: BedrockScript, model: str
) -> None:
    bedrock_script.fail = [429, 503]
    async with open_bedrock_embedder(bedrock_access, model=model) as embedder:
        assert len(await embedder.embed(["the pump"])) == 1
    assert bedrock_script.calls == 3


async def test_bedrock_says_what_the_role_lacks(bedrock_access: AwsAccess, bedrock_script: BedrockScript) -> None:
    async with open_bedrock_embedder(bedrock_access, model="amazon.titan-embed-text-v9:0") as embedder:
        with pytest.raises(ConfigurationError, match=r"bedrock:InvokeModel on amazon\.titan-embed-text-v9:0"):
            await embedder.check()
    bedrock_script.fail = [503] * 9
    async with open_bedrock_embedder(bedrock_access, model=TITAN) as embedder:
        with pytest.raises(EmbedderUnavailableError):
            await embedder.check()
