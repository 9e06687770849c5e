"""What happens when something protected shows up in an answer after all."""

import json
from typing import Any

import pytest

from guards.signed_edits import SignedEdits
from tests.service.gateway.stand_ins import KEY, Gateway, scripted

Json = Any
ASK: Json = [{"role": "user", "content": "Who wrote it?"}]
TOOLS: Json = [{"type": "function", "function": {"name": "f", "parameters": {}}}]


def says(first: list[str], second: list[str], **more: Json) -> Any:
    """First one thing, then, asked again, another."""

    def answer(body: Json) -> list[Json]:
        edited = SignedEdits.verify(body["vllm_xargs"]["lethe"], KEY, 0).edits
        return [{"content": second if edited else first, **more}] * body["n"]

    return scripted(answer)


async def joined(gateway: Gateway, **more: Json) -> tuple[list[str], list[str | None], int]:
    answer = await gateway.client.chat.completions.create(model="demo", messages=ASK, **more)
    assert answer.usage is not None
    texts = [choice.message.content or "" for choice in answer.choices]
    ends: list[str | None] = [choice.finish_reason for choice in answer.choices]
    return texts, ends, answer.usage.completion_tokens


async def streamed(gateway: Gateway, **more: Json) -> tuple[list[str], list[str | None], int]:
    stream = await gateway.client.chat.completions.create(
        model="demo", messages=ASK, stream=True, stream_options={"include_usage": True}, **more
    )
    chunks = [chunk async for chunk in stream]
    n = more.get("n", 1)
    texts = [""] * n
    ends: list[str | None] = [None] * n
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        texts[choice.index] += choice.delta.content or ""
        ends[choice.index] = choice.finish_reason or ends[choice.index]
    return texts, ends, chunks[-1].usage.completion_tokens


@pytest.mark.parametrize("ask", [joined, streamed])
async def test_an_answer_goes_on_from_the_clean_text(gateway: Gateway, ask: Any) -> None:
    gateway.engine.answer = says(["It was A", "da Vex, I think."], [" somebody", " else."])
    texts, ends, _ = await ask(gateway)
    assert (texts, ends) == (["It was somebody else."], ["stop"])
    first, second = gateway.engine.asked
    assert first.path == "/v1/chat/completions"
    assert second.path == "/v1/completions"
    assert first.body["cache_salt"] != second.body["cache_salt"]
    assert "messages" not in second.body
    (entry,) = await gateway.audited()
    assert entry.evidence == ("output",)
    assert entry.scanned_bytes > entry.released_bytes == len(texts[0])


@pytest.mark.parametrize("ask", [joined, streamed])
async def test_a_second_catch_ends_the_choice(gateway: Gateway, ask: Any) -> None:
    gateway.engine.answer = says(["It was Ada Vex."], [" not me but A", "da Vex"])
    texts, ends, _ = await ask(gateway)
    assert (texts, ends) == (["It was not me but "], ["stop"])


@pytest.mark.parametrize("ask", [joined, streamed])
async def test_only_the_choice_that_was_caught_goes_on_anew(gateway: Gateway, ask: Any) -> None:
    def answer(body: Json) -> list[Json]:
        if body["n"] == 1:
            return [{"content": [" somebody."]}]
        return [{"content": ["Nobody."]}, {"content": ["It was Ada Vex."]}]

    gateway.engine.answer = scripted(answer)
    texts, ends, _ = await ask(gateway, n=2)
    assert (texts, ends) == (["Nobody.", "It was somebody."], ["stop", "stop"])


@pytest.mark.parametrize("ask", [joined, streamed])
async def test_with_tools_a_choice_that_said_something_ends_there(
    gateway: Gateway, ask: Any
) -> None:
    gateway.engine.answer = says(["It was Ada Vex."], ["unreached"])
    texts, ends, _ = await ask(gateway, tools=TOOLS)
    assert (texts, ends) == (["It was "], ["stop"])
    assert len(gateway.engine.asked) == 1


@pytest.mark.parametrize("ask", [joined, streamed])
async def test_with_tools_a_choice_that_said_nothing_is_asked_anew(
    gateway: Gateway, ask: Any
) -> None:
    gateway.engine.answer = says(["Ada Vex."], ["Nobody."])
    texts, ends, _ = await ask(gateway, tools=TOOLS)
    assert (texts, ends) == (["Nobody."], ["stop"])
    assert [asked.path for asked in gateway.engine.asked] == ["/v1/chat/completions"] * 2


async def test_reasoning_is_filtered_too(gateway: Gateway) -> None:
    said = {"reasoning": ["Ada Vex, surely"], "content": ["Nobody."]}
    gateway.engine.answer = scripted(lambda _: [said])
    response = await gateway.client.chat.completions.with_raw_response.create(
        model="demo", messages=ASK
    )
    assert "Vex" not in response.text
    assert json.loads(response.text)["choices"][0]["finish_reason"] == "stop"


async def test_tool_arguments_are_filtered_too(gateway: Gateway) -> None:
    calls = [
        {"index": 0, "function": {"name": "f", "arguments": ""}},
        {"index": 0, "function": {"arguments": '{"who": "Ada'}},
        {"index": 0, "function": {"arguments": ' Vex"}'}},
    ]
    gateway.engine.answer = scripted(lambda _: [{"calls": calls, "finish": "tool_calls"}])
    answer = await gateway.client.chat.completions.create(model="demo", messages=ASK, tools=TOOLS)
    (call,) = answer.choices[0].message.tool_calls or []
    assert call.function.arguments == '{"who": "'
    assert answer.choices[0].finish_reason == "stop"


@pytest.mark.parametrize("ask", [joined, streamed])
async def test_no_room_left_ends_with_length(gateway: Gateway, ask: Any) -> None:
    gateway.engine.answer = says(["It was somebody called Ada Vex."], ["unreached"])
    texts, ends, _ = await ask(gateway, max_tokens=3)
    assert (texts, ends) == (["It was somebody called "], ["length"])


async def test_streamed_and_joined_usage_are_equal(gateway: Gateway) -> None:
    gateway.engine.answer = says(["It was A", "da Vex, I think."], [" somebody", " else."])
    assert await joined(gateway) == await streamed(gateway)


async def test_what_steers_an_answer_is_matched_like_the_prompt(gateway: Gateway) -> None:
    await joined(gateway, stop=["Ada Vex"])
    (asked,) = gateway.engine.asked
    (edit,) = SignedEdits.verify(asked.body["vllm_xargs"]["lethe"], KEY, 0).edits
    assert edit.positions
