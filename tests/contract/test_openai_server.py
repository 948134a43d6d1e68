"""The OpenAI double is held against the official SDK: its own types, streams and faults."""

from __future__ import annotations

import openai
import pytest

from tests.support.openai_server import STATUS_FAILURES, Script


async def test_the_official_sdk_reads_everything_it_says(openai_url: str, script: Script) -> None:
    async with openai.AsyncOpenAI(api_key="k", base_url=openai_url, max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == ["test-model"]
        whole = await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
        assert whole.choices[0].message.content == "Hello from the model [1]."
        vectors = await client.embeddings.create(model="e", input=["a", "b"])
        floats = await client.embeddings.create(model="e", input=["a", "b"], encoding_format="float")
        assert sorted(v.index for v in vectors.data) == [0, 1]
        assert vectors.data[0].embedding == pytest.approx(floats.data[0].embedding, rel=1e-5)
        async with client.chat.completions.stream(
            model="m", messages=[{"role": "user", "content": "hi"}], stream_options={"include_usage": True}
        ) as stream:
            final = await stream.get_final_completion()
        assert final.choices[0].message.content == whole.choices[0].message.content
        assert final.usage == whole.usage


@pytest.mark.parametrize(("failure", "status"), STATUS_FAILURES.items())
async def test_its_faults_are_the_sdks_own(openai_url: str, script: Script, failure: str, status: int) -> None:
    script.fail = [failure]
    async with openai.AsyncOpenAI(api_key="k", base_url=openai_url, max_retries=0) as client:
        with pytest.raises(openai.APIStatusError) as raised:
            await client.chat.completions.create(model="m", messages=[{"role": "user", "content": "hi"}])
    assert raised.value.status_code == status
