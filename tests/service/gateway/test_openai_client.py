"""The official client against the gateway: chat and completions, streamed and not."""

import json
from typing import Any

import openai
import pytest

from tests.service.gateway.stand_ins import Gateway, scripted

Json = Any
ASK: Json = [{"role": "user", "content": "Tell me about the ferry."}]
TOOLS: Json = [
    {
        "type": "function",
        "function": {"name": "look_up", "parameters": {"type": "object", "properties": {}}},
    }
]
CALLS = [
    {"index": 0, "id": "engine-1", "type": "function", "function": {"name": "look_up"}},
    {"index": 0, "function": {"arguments": '{"a":'}},
    {"index": 0, "function": {"arguments": " 1}"}},
]


async def streamed(gateway: Gateway, **more: Json) -> list[Json]:
    stream = await gateway.client.chat.completions.create(
        model="demo", messages=ASK, stream=True, **more
    )
    return [chunk async for chunk in stream]


async def test_a_chat_is_answered(gateway: Gateway) -> None:
    answer = await gateway.client.chat.completions.create(model="demo", messages=ASK)
    assert answer.choices[0].message.content == "Hello there."
    assert answer.choices[0].finish_reason == "stop"
    assert answer.object == "chat.completion"
    assert answer.usage is not None
    assert answer.usage.completion_tokens == 3


async def test_a_streamed_chat_joins_to_the_same_text(gateway: Gateway) -> None:
    chunks = await streamed(gateway)
    assert "".join(c.choices[0].delta.content or "" for c in chunks) == "Hello there."
    assert chunks[0].choices[0].delta.role == "assistant"
    assert chunks[-1].choices[0].finish_reason == "stop"
    assert all(chunk.usage is None for chunk in chunks)


async def test_usage_ends_a_stream_only_for_those_who_ask(gateway: Gateway) -> None:
    chunks = await streamed(gateway, stream_options={"include_usage": True})
    assert chunks[-1].choices == []
    assert chunks[-1].usage.completion_tokens == 3
    assert chunks[-1].usage.prompt_tokens_details is None
    assert gateway.engine.asked[0].body["stream_options"] == {"include_usage": True}


async def test_choices_keep_apart(gateway: Gateway) -> None:
    gateway.engine.answer = scripted(lambda body: [{"content": [str(i)]} for i in range(body["n"])])
    answer = await gateway.client.chat.completions.create(model="demo", messages=ASK, n=3)
    assert [choice.message.content for choice in answer.choices] == ["0", "1", "2"]
    assert {c.choices[0].index for c in await streamed(gateway, n=3)} == {0, 1, 2}


async def test_prompts_of_completions_are_numbered_in_order(gateway: Gateway) -> None:
    gateway.engine.answer = scripted(
        lambda body: [{"content": [f"{len(body['prompt'])}/{i}"]} for i in range(body["n"])]
    )
    prompts = ["a", "the ferry and the garden"]
    answer = await gateway.client.completions.create(model="demo", prompt=prompts, n=2)
    lengths = [len(asked.body["prompt"]) for asked in gateway.engine.asked]
    short, long = sorted(lengths)
    wanted = [f"{short}/0", f"{short}/1", f"{long}/0", f"{long}/1"]
    assert [choice.text for choice in answer.choices] == wanted
    assert [choice.index for choice in answer.choices] == [0, 1, 2, 3]


async def test_streamed_completions_join_to_the_same_text(gateway: Gateway) -> None:
    stream = await gateway.client.completions.create(model="demo", prompt="Once", stream=True)
    assert "".join([c.choices[0].text async for c in stream]) == "Hello there."


async def test_tool_calls_arrive_with_ids_of_ours(gateway: Gateway) -> None:
    gateway.engine.answer = scripted(lambda _: [{"calls": CALLS, "finish": "tool_calls"}])
    answer = await gateway.client.chat.completions.create(model="demo", messages=ASK, tools=TOOLS)
    (call,) = answer.choices[0].message.tool_calls or []
    assert (call.function.name, call.function.arguments) == ("look_up", '{"a": 1}')
    assert call.id.startswith("call_")
    assert answer.choices[0].message.content is None
    assert answer.choices[0].finish_reason == "tool_calls"


async def test_streamed_tool_calls_join_to_the_same_call(gateway: Gateway) -> None:
    gateway.engine.answer = scripted(lambda _: [{"calls": CALLS, "finish": "tool_calls"}])
    deltas = [c.choices[0].delta for c in await streamed(gateway, tools=TOOLS)]
    calls = [call for delta in deltas for call in delta.tool_calls or []]
    assert [c.function.name for c in calls if c.function.name] == ["look_up"]
    assert "".join(c.function.arguments or "" for c in calls) == '{"a": 1}'


async def test_json_mode_and_stop_reach_the_engine(gateway: Gateway) -> None:
    await gateway.client.chat.completions.create(
        model="demo",
        messages=ASK,
        stop=["\n"],
        temperature=0,
        response_format={"type": "json_object"},
    )
    body = gateway.engine.asked[0].body
    assert body["stop"] == ["\n"]
    assert body["temperature"] == 0
    assert body["response_format"] == {"type": "json_object"}


async def test_nothing_of_the_engines_envelope_gets_through(gateway: Gateway) -> None:
    response = await gateway.client.chat.completions.with_raw_response.create(
        model="demo", messages=ASK
    )
    assert "engine-id" not in response.text
    assert "stop_reason" not in response.text
    assert "cached_tokens" not in response.text
    assert "x-lethe-proof" not in response.headers


async def test_every_upstream_body_is_signed_salted_and_named_by_us(gateway: Gateway) -> None:
    await gateway.client.chat.completions.create(
        model="demo", messages=ASK, user="me", extra_headers={"x-request-id": "evil"}
    )
    asked = gateway.engine.asked[0]
    assert set(asked.body["vllm_xargs"]) == {"lethe"}
    assert len(asked.body["cache_salt"]) == 64
    assert asked.body["request_id"].startswith("chatcmpl-")
    assert "user" not in asked.body
    assert "x-request-id" not in asked.headers
    assert "authorization" not in asked.headers


async def test_a_wrong_key_is_401(gateway: Gateway) -> None:
    client = gateway.client.with_options(api_key="lethe_sk_other")
    with pytest.raises(openai.AuthenticationError) as caught:
        await client.chat.completions.create(model="demo", messages=ASK)
    assert caught.value.code == "invalid_api_key"
    with pytest.raises(openai.AuthenticationError):
        await client.models.list()


async def test_models_are_listed_for_holders_of_a_key(gateway: Gateway) -> None:
    assert [model.id async for model in gateway.client.models.list()] == ["demo"]
    with pytest.raises(openai.NotFoundError):
        await gateway.client.models.retrieve("other")


async def test_another_model_is_404(gateway: Gateway) -> None:
    with pytest.raises(openai.NotFoundError) as caught:
        await gateway.client.chat.completions.create(model="base", messages=ASK)
    assert caught.value.code == "model_not_found"


async def test_more_tokens_than_fit_are_400(gateway: Gateway) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        await gateway.client.chat.completions.create(model="demo", messages=ASK, max_tokens=250)
    assert caught.value.code == "context_length_exceeded"
    assert gateway.engine.asked == []


async def test_what_a_case_was_is_audited_without_its_words(gateway: Gateway) -> None:
    messages = [{"role": "user", "content": "Who is Ada Vex?"}]
    await gateway.client.chat.completions.create(model="demo", messages=messages)
    (entry,) = await gateway.audited()
    assert (entry.outcome, entry.tenant, entry.key, entry.epoch) == (
        "completed",
        "acme",
        "key_1",
        7,
    )
    assert entry.evidence == ("alias",)
    assert entry.edits == {"embedding_corruption": 1}
    assert entry.scanned_bytes == entry.released_bytes == len(b"Hello there.")
    assert "Ada" not in json.dumps(entry, default=str)


async def test_a_long_answer_comes_whole(gateway: Gateway) -> None:
    gateway.engine.answer = scripted(lambda _: [{"content": ["ferry " * 200_000]}])
    answer = await gateway.client.chat.completions.create(model="demo", messages=ASK)
    assert answer.choices[0].message.content == "ferry " * 200_000
