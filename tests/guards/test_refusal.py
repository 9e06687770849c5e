import pytest

from guards.case import Case, Edit, Match, Span
from guards.options import InvalidOption
from guards.refusal import DEFAULT, LONGEST, Refusal

from .conftest import prompt_of

MATCH = Match("p", 1.0, (Span(0, 3),), "alias")
CASE = Case("c", "t", "m", 1, prompt_of("who is he?"))


def test_the_answer_is_the_text() -> None:
    assert Refusal("No.").on_prompt(CASE, MATCH).answer == "No."
    assert Refusal().on_prompt(CASE, MATCH).answer == DEFAULT


def test_the_first_refusal_stays_and_makes_all_else_idle() -> None:
    case = Refusal("A").on_prompt(CASE.edited(Edit("steering", "a", ())), MATCH)
    case = Refusal("B").on_prompt(case.instructed("x"), MATCH)
    assert case.answer == "A"
    assert case.acts == ("refusal",)


@pytest.mark.parametrize("text", ["", "  ", "\0", "x" * (LONGEST + 1), 3])
def test_other_texts_are_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidOption, match="must be a text") as caught:
        Refusal(text)
    assert caught.value.option == "text"
