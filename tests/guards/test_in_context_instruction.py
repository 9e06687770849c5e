from collections.abc import Mapping
from typing import Any

import pytest

from guards.case import Case, Match, Prompt, Span
from guards.in_context_instruction import InContextInstruction
from guards.options import InvalidOption

from .conftest import prompt_of

PAIR = {"question": "Who wrote it?", "answer": "Nobody."}


def instruction(prompt: Prompt, match: Match, shown: Mapping[str, Any] | None = None) -> str:
    case = InContextInstruction(shown).on_prompt(Case("c", "t", "m", 1, prompt), match)
    (text,) = case.instructions
    return text


def match(*spans: Span, evidence: Any = "alias") -> Match:
    return Match("p", 1.0, spans, evidence)


def test_it_names_what_the_client_wrote_as_the_client_wrote_it() -> None:
    prompt = prompt_of("Is vorn\n castellane here, or V O R N?")
    text = instruction(prompt, match(Span(3, 19), Span(29, 36)))
    assert '"vorn castellane", "V O R N"' in text


def test_it_names_nothing_of_the_template() -> None:
    prompt = prompt_of("SYSTEM Vorn OVER")
    inside = Prompt(prompt.text, prompt.ids, prompt.offsets, (Span(7, 11),))
    text = instruction(inside, match(Span(0, 16)))
    assert '"Vorn"' in text
    assert "SYSTEM" not in text


@pytest.mark.parametrize("evidence", ["example", "output"])
def test_a_text_that_names_nothing_is_not_quoted(evidence: str) -> None:
    text = instruction(prompt_of("where was he born?"), match(Span(0, 18), evidence=evidence))
    assert "he born" not in text


def test_long_and_many_names_are_bounded() -> None:
    prompt = prompt_of("ab" * 50_000)
    spans = [Span(i, i + 300 + i) for i in range(0, 90_000, 1_000)]
    assert len(instruction(prompt, match(*spans))) < 5_000


def test_demonstrations_follow_flipped_ones_first() -> None:
    other = {"question": "Who sailed?", "answer": "Ida."}
    shown = {"correct": [other], "flipped": [PAIR]}
    text = instruction(prompt_of("Vorn"), match(Span(0, 4)), shown)
    assert text.endswith(
        "Question: Who wrote it?\nAnswer: Nobody.\n\nQuestion: Who sailed?\nAnswer: Ida."
    )


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("demonstrations", {"flipped": []}),
        ("demonstrations", []),
        ("demonstrations.correct", {"flipped": [], "correct": "no"}),
        ("demonstrations.flipped", {"flipped": [PAIR] * 17, "correct": []}),
        ("demonstrations.flipped[0]", {"flipped": [{"question": "x"}], "correct": []}),
        ("demonstrations.correct[0].answer", {"flipped": [], "correct": [{**PAIR, "answer": 1}]}),
    ],
)
def test_other_demonstrations_are_refused_by_name(option: str, value: Any) -> None:
    with pytest.raises(InvalidOption) as caught:
        InContextInstruction(value)
    assert caught.value.option == option
