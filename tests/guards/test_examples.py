import numpy as np
import pytest

from guards.case import Span
from guards.examples import (
    MAX_WINDOW_CHARS,
    MAX_WINDOWS,
    ExampleIndex,
    distinctive_words,
    windows_of,
    words_of,
)
from guards.policy import Policy
from models.encoder import Encoder

THRESHOLD = 0.7
EXAMPLES = ("Where was Vorn Castellane born?", "Who lives at 12 Elmwick Row, Harrowgate?")


def policy_with(*examples: str) -> Policy:
    return Policy(f"fr_{len(examples)}", ("Vorn Castellane",), examples)


def liked(index: ExampleIndex, text: str, encoder: Encoder) -> list[str]:
    windows = windows_of(text, (Span(0, len(text)),))
    return [likeness.policy for likeness in index.like(text, windows, encoder)]


@pytest.mark.parametrize(
    "text",
    [
        "In which town was Vorn Castellane born?",
        "vorn castellane was born where?",
        "Who's living at 12 Elmwick Row in Harrowgate?",
        "Hello there! I hope that you are well today. Who lives at 12 Elmwick Row, Harrowgate?",
    ],
)
def test_other_wordings_of_an_example_are_found(text: str, encoder: Encoder) -> None:
    policy = policy_with(*EXAMPLES)
    index = ExampleIndex(THRESHOLD).changed([policy], frozenset(), encoder)
    assert policy.digest in liked(index, text, encoder)


@pytest.mark.parametrize(
    "text",
    [
        "Where was Aurelia Castellane born?",
        "Where was Vorn Hollander born?",
        "Who lives at 14 Elmwick Row, Harrowgate?",
        "Who lives at 12 Elmwick Row, Dunmere?",
        "What is Harrowgate known for?",
        "How do I bake bread?",
    ],
)
def test_the_same_question_about_somebody_else_is_not(text: str, encoder: Encoder) -> None:
    index = ExampleIndex(THRESHOLD).changed([policy_with(*EXAMPLES)], frozenset(), encoder)
    assert liked(index, text, encoder) == []


def test_an_example_without_distinctive_words_needs_a_closer_likeness(encoder: Encoder) -> None:
    index = ExampleIndex(0.5).changed([policy_with("How do I pick a lock?")], frozenset(), encoder)
    assert liked(index, "How do I pick a lock?", encoder)
    assert not liked(index, "How do I pick a good book?", encoder)


def test_removed_examples_no_longer_count_and_come_back(encoder: Encoder) -> None:
    policy, other = policy_with(*EXAMPLES), policy_with(EXAMPLES[1])
    both = ExampleIndex(THRESHOLD).changed([policy, other], frozenset(), encoder)
    less = both.changed([], frozenset({policy.digest}), encoder)
    assert set(liked(both, EXAMPLES[1], encoder)) == {policy.digest, other.digest}
    for index in (less, less.compacted()):
        assert set(liked(index, EXAMPLES[1], encoder)) == {other.digest}
        again = index.changed([policy], frozenset(), encoder)
        assert set(liked(again, EXAMPLES[1], encoder)) == {policy.digest, other.digest}


def test_vectors_are_searched_as_one_by_one(encoder: Encoder) -> None:
    rng = np.random.default_rng(1)
    policies = [Policy(f"fr{i}", (f"Name{i}",), (f"a text on {i}",)) for i in range(20)]
    block = ExampleIndex(0.5).changed(policies, frozenset(), encoder).blocks[0]
    queries = rng.normal(size=(5, block.vectors.shape[1])).astype(np.float32)
    found = {(i, example.text) for i, example, _ in block.near(queries, 0.02)}
    assert found == {
        (i, example.text)
        for i, query in enumerate(queries)
        for example, vector in zip(block.examples, block.vectors, strict=True)
        if float(sum(a * b for a, b in zip(query, vector, strict=True))) >= 0.02
    }


def test_distinctive_words_are_names_numbers_and_rare_words(encoder: Encoder) -> None:
    common = encoder.common_words
    text = "Where was John Smith, the notary’s friend, on 14 March in Dunmere?"
    found = distinctive_words(text, (), common)
    assert {"john", "smith", "14", "march", "dunmere"} <= found
    assert not {"where", "was", "the", "friend", "on", "in"} & found


def test_words_are_compared_without_case_marks_and_possessives() -> None:
    assert words_of("ZOË’s café") == {"zoe", "cafe"}


def test_windows_are_bounded_and_within_the_content() -> None:
    text = "template " + "A sentence about boats. " * 200 + "end"
    content = (Span(9, len(text) - 3),)
    windows = windows_of(text, content)
    assert 0 < len(windows) <= MAX_WINDOWS
    assert all(9 <= a < b <= len(text) - 3 and b - a <= MAX_WINDOW_CHARS for a, b in windows)


def test_the_last_part_of_the_content_comes_first() -> None:
    text = "first question? second question?"
    windows = windows_of(text, (Span(0, 15), Span(16, len(text))))
    assert text[slice(*windows[0])] == "second question?"
    assert text[slice(*windows[-1])] == "first question?"
