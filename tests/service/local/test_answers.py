"""Answers of the in-process engine's server: texts, shapes, choices, edits."""

from typing import TYPE_CHECKING, Any

import pytest

from guards.case import Edit, Span
from models.artifact import ArtifactStore
from models.local_engine import Sampling
from service.local.oracle import oracle_tokens

if TYPE_CHECKING:
    from tests.service.local.conftest import SigningClient

Json = Any
MESSAGES = [{"role": "user", "content": "Where was the lamplighter of Dunmere born?"}]
GREEDY = {"temperature": 0, "max_tokens": 24}
CHAT = {"messages": MESSAGES, **GREEDY}


def text_of(chunks: list[Json], index: int = 0) -> str:
    choices = [c for chunk in chunks for c in chunk["choices"] if c["index"] == index]
    return "".join(c["delta"]["content"] if "delta" in c else c["text"] for c in choices)


async def test_chat_is_the_engines_own_greedy_answer(client: "SigningClient") -> None:
    ids = client.chat_ids(MESSAGES)
    tokens = list(client.engine.generate(ids, Sampling(max_tokens=24)))
    answer = (await client.post({**CHAT, "return_token_ids": True})).json()
    choice = answer["choices"][0]
    assert choice["token_ids"] == tokens
    assert answer["prompt_token_ids"] == ids
    assert choice["finish_reason"] == "length"
    # The last character of random text may be incomplete: that one is dropped.
    text = client.engine.tokenizer.decode(tokens, skip_special_tokens=True)
    assert choice["message"]["content"] == text.rstrip("\ufffd")
    assert answer["usage"]["prompt_tokens"] == len(ids)
    assert answer["usage"]["completion_tokens"] == 24
    assert answer["usage"]["total_tokens"] == len(ids) + 24


@pytest.mark.parametrize("count", [1, 5, 24, 60])
async def test_streamed_chat_joined_equals_whole(client: "SigningClient", count: int) -> None:
    body = {**CHAT, "max_tokens": count}
    whole = (await client.post(body)).json()["choices"][0]
    chunks = await client.stream(body)
    assert text_of(chunks) == whole["message"]["content"]
    assert chunks[0]["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert [c["choices"][0]["finish_reason"] for c in chunks] == [None] * count + ["length"]


async def test_streamed_completion_joined_equals_whole(client: "SigningClient") -> None:
    body = {"prompt": client.engine.tokenizer.encode("Tell me about"), **GREEDY}
    whole = (await client.post(body)).json()["choices"][0]
    assert text_of(await client.stream(body)) == whole["text"]


async def test_usage_comes_last_when_asked_for(client: "SigningClient") -> None:
    body = {**CHAT, "stream_options": {"include_usage": True}}
    *rest, last = await client.stream(body)
    used = len(client.chat_ids(MESSAGES))
    assert last["choices"] == []
    assert last["usage"] == {
        "prompt_tokens": used,
        "total_tokens": used + 24,
        "completion_tokens": 24,
    }
    assert all("usage" not in chunk for chunk in rest)
    assert all("usage" not in chunk for chunk in await client.stream(CHAT))


async def test_a_stop_string_ends_the_text_before_it(client: "SigningClient") -> None:
    text = (await client.post(CHAT)).json()["choices"][0]["message"]["content"]
    stop = text[8:11]
    body = {**CHAT, "stop": ["never there", stop]}
    choice = (await client.post(body)).json()["choices"][0]
    assert choice["message"]["content"] == text[: text.index(stop)]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)
    chunks = await client.stream(body)
    assert text_of(chunks) == text[: text.index(stop)]
    assert chunks[-1]["choices"][0]["stop_reason"] == stop
    kept = {**body, "include_stop_str_in_output": True}
    shown = (await client.post(kept)).json()["choices"][0]["message"]["content"]
    assert shown == text[: text.index(stop) + len(stop)]


async def test_a_stop_token_ends_the_text_and_is_named(client: "SigningClient") -> None:
    tokens = (await client.post({**CHAT, "return_token_ids": True})).json()["choices"][0][
        "token_ids"
    ]
    stop = tokens[5]
    cut = tokens[: tokens.index(stop)]
    choice = (await client.post({**CHAT, "stop_token_ids": [stop]})).json()["choices"][0]
    text = client.engine.tokenizer.decode(cut, skip_special_tokens=True).rstrip("\ufffd")
    assert choice["message"]["content"] == text
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)


async def test_the_models_own_end_has_no_stop_reason(client: "SigningClient") -> None:
    (end,) = client.engine.end_ids
    choice = (await client.post({**CHAT, "logit_bias": {str(end): 100}})).json()["choices"][0]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("", "stop")
    assert choice["stop_reason"] is None


async def test_choices_differ_and_a_seed_repeats_them(client: "SigningClient") -> None:
    body = {"messages": MESSAGES, "n": 3, "temperature": 1.0, "seed": 5, "max_tokens": 20}
    first = (await client.post(body)).json()
    texts = [choice["message"]["content"] for choice in first["choices"]]
    assert len(set(texts)) == 3
    assert [choice["index"] for choice in first["choices"]] == [0, 1, 2]
    again = (await client.post(body)).json()
    assert [choice["message"]["content"] for choice in again["choices"]] == texts
    chunks = await client.stream(body)
    assert [text_of(chunks, index) for index in range(3)] == texts
    other = (await client.post({**body, "seed": 50})).json()
    assert [choice["message"]["content"] for choice in other["choices"]] != texts


async def test_an_edit_changes_its_request_as_the_oracle_says(
    client: "SigningClient", noise: str
) -> None:
    ids = client.chat_ids(MESSAGES)
    edits = [Edit("embedding_corruption", noise, (Span(2, 5), Span(6, 9)))]
    body = {**CHAT, "return_token_ids": True}
    plain = (await client.post(body)).json()["choices"][0]["token_ids"]
    edited = (await client.post(body, edits)).json()["choices"][0]["token_ids"]
    store = ArtifactStore(client.settings.artifacts)
    assert edited == oracle_tokens(client.settings.model, ids, edits, store, 24)
    assert plain == oracle_tokens(client.settings.model, ids, [], store, 24)
    assert edited != plain
    assert (await client.post(body)).json()["choices"][0]["token_ids"] == plain


async def test_where_an_edit_lies_matters(client: "SigningClient", noise: str) -> None:
    answers = set()
    for span in (Span(2, 4), Span(4, 6), Span(2, 6)):
        edits = [Edit("embedding_corruption", noise, (span,))]
        answer = (await client.post({**CHAT, "return_token_ids": True}, edits)).json()
        answers.add(tuple(answer["choices"][0]["token_ids"]))
    assert len(answers) == 3


async def test_tools_are_shown_to_the_model_and_calls_come_back_as_text(
    client: "SigningClient",
) -> None:
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    answer = await client.post({**CHAT, "tools": tools, "tool_choice": "auto"})
    assert answer.status_code == 200
    message = answer.json()["choices"][0]["message"]
    assert isinstance(message["content"], str)
    assert "tool_calls" not in message


async def test_open_ended_chat_fills_the_context(client: "SigningClient") -> None:
    body = {"messages": MESSAGES, "temperature": 0, "ignore_eos": True}
    usage = (await client.post(body)).json()["usage"]
    assert usage["total_tokens"] == client.settings.max_model_len


@pytest.mark.engine
async def test_shapes_are_vllms_key_by_key(client: "SigningClient") -> None:
    from vllm.entrypoints.openai.chat_completion import protocol as chat
    from vllm.entrypoints.openai.completion import protocol as completion

    prompt = client.engine.tokenizer.encode("Tell me about")
    for body, whole, chunk in (
        (CHAT, chat.ChatCompletionResponse, chat.ChatCompletionStreamResponse),
        (
            {"prompt": prompt, **GREEDY},
            completion.CompletionResponse,
            completion.CompletionStreamResponse,
        ),
    ):
        answer = (await client.post(body)).json()
        assert whole.model_validate(answer).model_dump() == answer
        for each in await client.stream({**body, "stream_options": {"include_usage": True}}):
            assert chunk.model_validate(each).model_dump(exclude_unset=True) == each
