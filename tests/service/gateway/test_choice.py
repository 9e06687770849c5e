"""What leaves a choice does not depend on how the engine cuts its words."""

from itertools import accumulate
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from service.gateway.choice import Choice, Release
from service.gateway.pieces import CONTENT, Channel, Piece
from tests.service.gateway.stand_ins import ToyFilter

PHRASES = {"ab": "p1", "cabc": "p2"}
REASONING = Channel("reasoning")
texts = st.text("abcd ", max_size=30)
cuts = st.lists(st.integers(0, 30), max_size=8)


def new_choice() -> Choice:
    return Choice(lambda: ToyFilter(PHRASES))


def cut_up(text: str, at: list[int]) -> list[str]:
    ends = sorted({min(i, len(text)) for i in at} | {len(text)})
    starts = [0, *ends[:-1]]
    return [text[a:b] for a, b in zip(starts, ends, strict=True)]


def said(releases: list[Release]) -> dict[Channel, str]:
    joined: dict[Channel, str] = {}
    for channel, text in releases:
        joined[channel] = joined.get(channel, "") + text
    return {channel: text for channel, text in joined.items() if text}


def run(choice: Choice, parts: list[tuple[Channel, str]], finish: str = "stop") -> list[Release]:
    out: list[Release] = []
    for channel, text in parts:
        out += choice.push(Piece(0, ((channel, text),), None))
    return out + choice.push(Piece(0, (), finish))


def reference(text: str) -> tuple[str, bool]:
    """What stands before the phrase that ends first, and whether there is one: slow, obvious."""
    for end in range(len(text) + 1):
        starts = [end - len(phrase) for phrase in PHRASES if text[:end].endswith(phrase)]
        if starts:
            return text[: min(starts)], True
    return text, False


@given(texts, texts, cuts, cuts)
def test_cut_or_whole_the_same_leaves(
    reasoning: str, content: str, some: list[int], others: list[int]
) -> None:
    whole, parts = new_choice(), new_choice()
    out_whole = whole.push(Piece(0, ((REASONING, reasoning), (CONTENT, content)), "stop"))
    pieces = [(REASONING, t) for t in cut_up(reasoning, some)]
    out_parts = run(parts, pieces + [(CONTENT, t) for t in cut_up(content, others)])
    assert (whole.caught, whole.finish) == (parts.caught, parts.finish)
    for choice, out in ((whole, out_whole), (parts, out_parts)):
        if choice.caught is not None:
            out += choice.end_here()
    assert said(out_whole) == said(out_parts)


@given(texts, cuts)
def test_what_leaves_is_the_clean_head(content: str, some: list[int]) -> None:
    choice = new_choice()
    out = run(choice, [(CONTENT, t) for t in cut_up(content, some)])
    clean, caught = reference(content)
    assert (choice.caught is not None) == caught
    if caught:
        assert clean.startswith("".join(r.text for r in out))
        out += choice.end_here()
    assert "".join(r.text for r in out) == clean == choice.said


@given(texts, texts, cuts, cuts)
def test_a_phrase_across_the_seam_of_a_restart_is_seen(
    first: str, more: str, some: list[int], others: list[int]
) -> None:
    choice = new_choice()
    out = run(choice, [(CONTENT, t) for t in cut_up(first + "ab", some)])
    assert choice.caught is not None
    kept = choice.said
    fresh, again = choice.restarted()
    out += again + run(fresh, [(CONTENT, t) for t in cut_up(more, others)])
    if fresh.caught is not None:
        out += fresh.end_here()
    clean, caught = reference(kept + more)
    # What was kept stays, also where it turns out to be the beginning of a phrase.
    assert "".join(r.text for r in out) == max(clean, kept, key=len)
    assert (fresh.caught is not None) == caught


@given(texts, texts, cuts)
def test_tool_calls_are_filtered_names_and_arguments(
    name: str, arguments: str, some: list[int]
) -> None:
    call = Channel("arguments", 0)
    parts: list[tuple[Channel, str]] = [(Channel("name", 0), name)] if name else []
    choice = new_choice()
    out = run(choice, parts + [(call, t) for t in cut_up(arguments, some) if t], "tool_calls")
    bad_name, bad_arguments = reference(name)[1], reference(arguments)[1]
    assert (choice.caught is not None) == (bad_name or bad_arguments)
    if choice.caught is not None:
        out += choice.end_here()
    left = said(out)
    assert left.get(Channel("name", 0), "") == ("" if bad_name else name)
    assert left.get(call, "") == ("" if bad_name else reference(arguments)[0])


@given(texts, cuts)
def test_a_run_is_silent_only_where_nothing_clean_was_said(content: str, some: list[int]) -> None:
    choice = new_choice()
    run(choice, [(CONTENT, t) for t in cut_up(content, some)])
    assert choice.silent == (reference(content)[0] == "")


@given(texts, cuts)
def test_every_byte_is_counted_once(content: str, some: list[int]) -> None:
    choice = new_choice()
    out = run(choice, [(CONTENT, t) for t in cut_up(content, some)])
    assert choice.left == sum(len(r.text.encode()) for r in out)
    assert choice.left <= choice.scanned <= len(content.encode())
    held: Any = choice.held
    assert 0 <= held <= max(map(len, PHRASES))


def test_lengths_of_the_cuts_add_up() -> None:
    assert list(accumulate(map(len, cut_up("abcdef", [2, 4])))) == [2, 4, 6]


@given(texts, cuts, st.integers(0, 12))
def test_an_opening_leaves_whole_or_not_at_all(content: str, at: list[int], opening: int) -> None:
    choice = Choice(lambda: ToyFilter(PHRASES), opening)
    out: list[Release] = []
    for part in cut_up(content, at):
        released = choice.push(Piece(0, ((CONTENT, part),), None))
        left = len("".join(text for _, text in out + released))
        assert left == 0 or left > opening
        out += released
    out += choice.push(Piece(0, (), "stop"))
    clean, caught = reference(content)
    dropped = caught and len(clean) <= opening
    assert choice.said == ("" if dropped else clean)
    if caught:
        out += choice.end_here()
    assert said(out).get(CONTENT, "") == ("" if dropped else clean)
