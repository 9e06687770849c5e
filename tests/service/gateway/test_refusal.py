"""A refusal is an answer like any other, which no engine gave."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards.policy import GuardSpec
from guards.refusal import DEFAULT
from models.chat_prompt import PromptRenderer
from service.gateway.pieces import CONTENT
from service.gateway.schema import Generation
from service.gateway.spoken import spoken
from tests.service.gateway.stand_ins import Gateway, joined, rules_of, scripted, streamed

Json = Any
CHAT: Json = [{"role": "user", "content": "Who is Ada Vex?"}]
TEXT = "I will not say  who that is.\nAsk me\tsomething else."
WAYS = pytest.mark.parametrize("way", [joined, streamed])
ASKS = pytest.mark.parametrize("ask", [CHAT, "Who is Ada Vex?"], ids=["chat", "completions"])


@pytest.fixture(autouse=True)
def refusing(gateway: Gateway) -> None:
    edit = GuardSpec("embedding_corruption", {"artifact": "sha256:" + "a" * 64})
    gateway.replica.current = rules_of(edit, GuardSpec("refusal", {"text": TEXT}))


@WAYS
@ASKS
async def test_the_answer_is_the_text_and_the_engine_is_not_asked(
    gateway: Gateway, way: Any, ask: Json
) -> None:
    texts, ends, completion, prompt = await way(gateway, ask, n=3, max_tokens=100)
    count = gateway.parts.preparer.renderer.count
    assert (texts, ends) == ([TEXT] * 3, ["stop"] * 3)
    assert completion == 3 * (count(TEXT) + 1)
    assert prompt > 0
    assert gateway.engine.asked == []
    (entry,) = await gateway.audited()
    assert (entry.outcome, entry.edits, entry.evidence) == ("completed", {"refusal": 1}, ("alias",))
    assert entry.scanned_bytes == entry.released_bytes == 3 * len(TEXT)


@WAYS
async def test_others_are_answered_by_the_engine(gateway: Gateway, way: Any) -> None:
    texts, *_ = await way(gateway, [{"role": "user", "content": "Who is Ada Vexley?"}])
    assert texts == ["Hello there."]


@WAYS
@ASKS
async def test_stop_strings_end_it(gateway: Gateway, way: Any, ask: Json) -> None:
    for more, text in (({}, TEXT[: TEXT.index("Ask")]), ({"include_stop_str_in_output": True}, "")):
        wanted = text or TEXT[: TEXT.index("Ask") + 3]
        texts, ends, *_ = await way(
            gateway, ask, max_tokens=100, stop=["never", "Ask"], extra_body=more
        )
        assert (texts, ends) == ([wanted], ["stop"])


@WAYS
@ASKS
async def test_max_tokens_cut_it(gateway: Gateway, way: Any, ask: Json) -> None:
    texts, ends, completion, _ = await way(gateway, ask, max_tokens=4)
    assert ends == ["length"]
    assert completion == 4
    assert TEXT.startswith(texts[0])


async def test_several_prompts_are_each_answered(gateway: Gateway) -> None:
    answer = await gateway.client.completions.create(
        model="demo", prompt=["Ada Vex", "the ferry", "Ada Vex!"], max_tokens=100
    )
    assert [choice.text for choice in answer.choices] == [TEXT, "Hello there.", TEXT]


@WAYS
async def test_a_catch_before_anything_was_said_is_refused(gateway: Gateway, way: Any) -> None:
    gateway.engine.answer = scripted(lambda _: [{"content": ["Ada V", "ex did."]}])
    texts, ends, *_ = await way(gateway, [{"role": "user", "content": "Who wrote it?"}])
    assert (texts, ends) == ([TEXT], ["stop"])
    assert len(gateway.engine.asked) == 1


@WAYS
async def test_a_catch_later_ends_the_answer(gateway: Gateway, way: Any) -> None:
    gateway.engine.answer = scripted(lambda _: [{"content": ["It was A", "da Vex."]}])
    texts, ends, *_ = await way(gateway, [{"role": "user", "content": "Who wrote it?"}])
    assert (texts, ends) == (["It was "], ["stop"])
    assert len(gateway.engine.asked) == 1


@WAYS
async def test_a_text_with_the_name_in_it_is_cut_like_any_other(gateway: Gateway, way: Any) -> None:
    gateway.replica.current = rules_of(GuardSpec("refusal", {"text": "About Ada Vex? No."}))
    texts, ends, *_ = await way(gateway, CHAT)
    assert (texts, ends) == (["About "], ["stop"])


async def test_a_default_text(gateway: Gateway) -> None:
    gateway.replica.current = rules_of(GuardSpec("refusal"))
    texts, *_ = await joined(gateway, CHAT)
    assert texts == [DEFAULT]


@given(st.text(max_size=40), st.lists(st.text("ab ", min_size=1, max_size=3), max_size=3))
def test_pieces_join_to_the_text_before_the_stop_that_ends_first(
    renderer: PromptRenderer, text: str, stops: list[str]
) -> None:
    wanted = text
    for end in range(len(text) + 1):  # read on, character by character
        ended = [stop for stop in stops if text[:end].endswith(stop)]
        if ended:
            wanted = text[: end - max(map(len, ended))]
            break
    generation = Generation(1, None, False, False, tuple(stops), {}, ())
    pieces = list(spoken(0, text, generation, 1_000, renderer))
    assert "".join(t for p in pieces for c, t in p.texts if c == CONTENT) == wanted
    assert [piece.finish for piece in pieces] == [None] * (len(pieces) - 1) + ["stop"]
