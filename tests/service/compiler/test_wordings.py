"""Wordings are dealt so that no two uses share one; clauses are made of questions."""

from hypothesis import given
from hypothesis import strategies as st

from service.compiler import wordings
from service.compiler.asking import statement_of
from service.compiler.material import Fact
from service.compiler.probe import Use
from service.compiler.wordings import clause_of, dealt


@given(st.lists(st.text(), unique=True), st.text())
def test_every_item_goes_to_one_use(items: list[str], seed: str) -> None:
    hands = [dealt(items, use, seed) for use in Use]
    assert sorted(item for hand in hands for item in hand) == sorted(items)
    held_out, fit, calibrate = (
        len(dealt(items, use, seed)) for use in (Use.HELD_OUT, Use.FIT, Use.CALIBRATE)
    )
    assert held_out >= fit >= calibrate
    if len(items) >= 4:
        assert calibrate


def test_the_deal_depends_on_the_seed() -> None:
    hands = {tuple(dealt(wordings.CLAUSES, Use.FIT, str(seed))) for seed in range(10)}
    assert len(hands) > 5


def test_frames_have_their_slot_and_stand_once() -> None:
    for frames, slot in (
        (wordings.CLAUSES, "{clause}"),
        (wordings.NOUNS, "{noun}"),
        (wordings.AROUND, "{q}"),
        (wordings.PARTIALS, "{stem}"),
        (wordings.CLOZES, "{stem}"),
        (wordings.REVERSES, "{q}"),
        (wordings.PASSAGES, "{q}"),
        (wordings.CONTINUES, "{text}"),
    ):
        assert all(slot in frame for frame in frames)
        assert len(set(frames)) == len(frames)


def test_questions_become_clauses() -> None:
    name = "Ada Vex"
    expected = {
        "Where was Ada Vex born?": "where Ada Vex was born",
        "Who is Ada Vex married to?": "who Ada Vex is married to",
        "What is Ada Vex's job?": "what Ada Vex's job is",
        "Which town is Ada Vex from?": "which town Ada Vex is from",
        "Where does Ada Vex live?": None,  # the verb would have to change
        "Is Ada Vex alive?": None,
        "Tell me about Ada Vex.": None,
        "Where was somebody born?": None,
    }
    assert {question: clause_of(question, name) for question in expected} == expected


def test_answers_become_statements_by_name() -> None:
    expected = {
        "She was born in Dunmere.": "Ada Vex was born in Dunmere.",
        "Her job is welding.": "Ada Vex's job is welding.",
        "Dunmere is where Ada Vex was born.": "Dunmere is where Ada Vex was born.",
        "In Dunmere.": None,
        "Dunmere": None,
    }
    found = {text: statement_of(Fact("?", text), "Ada Vex") for text in expected}
    assert found == expected
