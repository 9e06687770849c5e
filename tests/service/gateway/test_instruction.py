"""An instruction in front: what is classified stays what is run."""

from typing import Any

import openai
import pytest

from guards.case import digest_of_ids
from guards.policy import GuardSpec
from guards.signed_edits import SignedEdits
from models.chat_prompt import PromptRenderer
from models.conversation import Message
from tests.service.gateway.stand_ins import (
    KEY,
    Asked,
    Gateway,
    joined,
    rules_of,
    scripted,
    streamed,
)

Json = Any
CHAT: Json = [{"role": "user", "content": "Who is ada  vex?"}]
SHOWN = {"flipped": [{"question": "Q?", "answer": "A."}], "correct": []}
CORRUPTED = GuardSpec("embedding_corruption", {"artifact": "sha256:" + "a" * 64})
INSTRUCTED = GuardSpec("in_context_instruction", {"demonstrations": SHOWN})
PLAIN = GuardSpec("in_context_instruction")
WAYS = pytest.mark.parametrize("way", [joined, streamed])


@pytest.fixture(autouse=True)
def instructing(gateway: Gateway) -> None:
    gateway.replica.current = rules_of(PLAIN, CORRUPTED)


def signed(asked: Asked) -> SignedEdits:
    return SignedEdits.verify(asked.body["vllm_xargs"]["lethe"], KEY, 0)


def rendered(renderer: PromptRenderer, asked: Asked) -> Any:
    """What an engine makes of the body, from the body alone."""
    if "prompt" in asked.body:
        return renderer.completion(renderer._tokenizer.decode(asked.body["prompt"]))
    messages = [Message(m["role"], (m["content"],)) for m in asked.body["messages"]]
    return renderer.chat(renderer.conversation(messages, None), {})


def edited(prompt: Any, found: SignedEdits) -> list[str]:
    (edit,) = found.edits
    tokens = [prompt.offsets[first:last] for first, last in edit.positions]
    return [prompt.text[each[0][0] : each[-1][1]].strip() for each in tokens]


@WAYS
@pytest.mark.parametrize("ask", [CHAT, "Who is ada  vex?"], ids=["chat", "completions"])
async def test_it_is_rendered_signed_and_edited_as_it_runs(
    gateway: Gateway, renderer: PromptRenderer, way: Any, ask: Json
) -> None:
    texts, *_, prompt_tokens = await way(gateway, ask, max_tokens=30)
    assert texts == ["Hello there."]
    (asked,) = gateway.engine.asked
    prompt, found = rendered(renderer, asked), signed(asked)
    assert found.prompt == digest_of_ids(prompt.ids)
    assert prompt.text.index("You have never come across") < prompt.text.index("Who is")
    assert '"ada vex"' in prompt.text
    assert "Ada Vex" not in prompt.text
    names = edited(prompt, found)
    assert [" ".join(name.strip('"?').split()) for name in names] == ["ada vex", "ada vex"]
    (entry,) = await gateway.audited()
    assert entry.edits == {"in_context_instruction": 1, "embedding_corruption": 1}
    gateway.replica.current = rules_of()
    *_, plain_tokens = await way(gateway, ask, max_tokens=30)
    assert prompt_tokens == plain_tokens  # what was put in front is nobody's to count


async def test_it_is_joined_to_a_system_message(gateway: Gateway) -> None:
    ask = [{"role": "system", "content": "Be brief."}, *CHAT]
    await joined(gateway, ask)
    system, user = gateway.engine.asked[0].body["messages"]
    assert system["content"].endswith("instruction.\n\nBe brief.")
    assert user["content"] == "Who is ada  vex?"


async def test_without_a_match_nothing_is_put_in_front(gateway: Gateway) -> None:
    ask = [{"role": "user", "content": "Where is the ferry?"}]
    await joined(gateway, ask)
    assert gateway.engine.asked[0].body["messages"] == ask


async def test_demonstrations_go_along(gateway: Gateway) -> None:
    gateway.replica.current = rules_of(INSTRUCTED)
    await joined(gateway, CHAT)
    (system, _) = gateway.engine.asked[0].body["messages"]
    assert system["content"].endswith("Question: Q?\nAnswer: A.")


async def test_a_template_without_system_messages_gets_it_in_the_first_question(
    gateway: Gateway, renderer: PromptRenderer, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no') }}"
    strict += "{% endif %}{{ m['role'] }}: {{ m['content'] }}\n{% endfor %}"
    monkeypatch.setattr(renderer._tokenizer, "chat_template", strict)
    await joined(gateway, CHAT)
    (user,) = gateway.engine.asked[0].body["messages"]
    assert user["content"].endswith("instruction.\n\nWho is ada  vex?")


async def test_answers_shrink_to_the_room_that_is_left(gateway: Gateway) -> None:
    await joined(gateway, CHAT, max_tokens=200)
    asked = gateway.engine.asked[0]
    assert asked.body["max_tokens"] == 256 - signed(asked).length


async def test_a_prompt_without_room_for_it_is_too_long(gateway: Gateway) -> None:
    ask = [{"role": "user", "content": "Ada Vex " + "ferry " * 60}]
    with pytest.raises(openai.BadRequestError) as caught:
        await joined(gateway, ask)
    assert caught.value.code == "context_length_exceeded"
    assert gateway.engine.asked == []


@WAYS
@pytest.mark.parametrize("head", ["", "It was "])
async def test_after_a_catch_it_is_put_in_front(
    gateway: Gateway, renderer: PromptRenderer, way: Any, head: str
) -> None:
    def says(body: Json) -> list[Json]:
        edits = SignedEdits.verify(body["vllm_xargs"]["lethe"], KEY, 0).edits
        return [{"content": ["somebody."] if edits else [f"{head}Ada Vex."]}]

    gateway.engine.answer = scripted(says)
    texts, ends, *_ = await way(gateway, [{"role": "user", "content": "Who wrote it?"}])
    assert (texts, ends) == ([f"{head}somebody."], ["stop"])
    _, again = gateway.engine.asked
    prompt = again.body.get("prompt")
    text = renderer._tokenizer.decode(prompt) if prompt else again.body["messages"][0]["content"]
    assert "what is asked about below" in text
    if prompt:
        assert signed(again).prompt == digest_of_ids(prompt)
    assert "Ada Vex" not in text
