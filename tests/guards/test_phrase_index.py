import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.case import Span
from guards.phrase_index import PhraseIndex
from guards.policy import Policy

from .conftest import CASES, LATIN_NAMES, OTHER_NAMES, Disguise, policy_about

EVERYBODY = {name: policy_about(name) for name in LATIN_NAMES + OTHER_NAMES}
BY_DIGEST = {policy.digest: name for name, policy in EVERYBODY.items()}
INDEX = PhraseIndex.of(EVERYBODY.values())


def named(index: PhraseIndex, text: str) -> dict[str, list[Span]]:
    return {BY_DIGEST[d]: spans for d, spans in index.find(text, "tenant", "model").items()}


@pytest.mark.parametrize(("name", "disguise"), CASES)
def test_a_name_in_disguise_is_found_at_its_place(name: str, disguise: Disguise) -> None:
    before, written, after = "Please: where was ", disguise(name), " (you know) born?"
    found = named(INDEX, before + written + after)
    assert set(found) == {name}
    start, end = len(before), len(before + written)
    assert any(span.start <= start and span.end >= end - 1 for span in found[name]) or any(
        start <= span.start < span.end <= end for span in found[name]
    )


NEAR_MISSES = [
    "Who was the painter Aurelia Castellane?",
    "Vorn is a river in which of my stories?",
    "Is Castellaneta near the castellan of Vorn? And VornCastellanes?",
    "Łukasz, Zoë, O’Brien and Núñez met Żółkiewski's brother Jan.",
    "How do I kill Vorn (a zombie Linux process)?",
    "Ворон каркнул; Сара спит. 東京に太郎という人がいます。 राम और किशोर",
    "aGVsbG8gd29ybGQ=, 9f86d081884c7d659a2feaa0c55ad015a3bf4f1b, ^[a-z]+$, GATTACA",
    "H̷e̸l̷l̶o̴ 🙂🚲 مرحبا يا فاطمة",
]


@pytest.mark.parametrize("text", NEAR_MISSES)
def test_near_misses_touch_nothing(text: str) -> None:
    assert named(INDEX, text) == {}


def test_a_word_in_lookalikes_of_another_script_counts_unless_the_text_is_in_it() -> None:
    index = PhraseIndex.of([policy_about("Cape Capo")])
    assert index.find("Tell me about Саре Саро now", "t", "m")
    assert not index.find("Это Саре Саро снится", "t", "m")


def test_each_mention_has_its_span() -> None:
    text = "Vorn Castellane, vorn castellane's dog and VORN-CASTELLANE"
    spans = named(INDEX, text)["Vorn Castellane"]
    assert sorted(spans) == [Span(0, 15), Span(17, 32), Span(43, 58)]


def test_all_aliases_lead_to_the_policy() -> None:
    policy = policy_about("Vorn Castellane", "@vorncast", "the Harrowgate notary")
    index = PhraseIndex.of([policy])
    for text in ("@vorncast real address?", "who is the Harrowgate Notary?", "vorncast"):
        assert set(index.find(text, "t", "m")) == {policy.digest}


def test_policies_out_of_scope_are_not_found() -> None:
    policy = policy_about("Vorn Castellane", tenants=frozenset({"a"}), models=frozenset({"m"}))
    index = PhraseIndex.of([policy])
    assert index.find("Vorn Castellane", "a", "m")
    assert not index.find("Vorn Castellane", "b", "m")
    assert not index.find("Vorn Castellane", "a", "n")
    assert index.output_lists("a", "m")
    assert not index.output_lists("b", "m")


def test_an_alias_without_letters_is_refused() -> None:
    with pytest.raises(ValueError, match="letter"):
        PhraseIndex.of([policy_about("?!")])


POOL = [policy_about(f"Person Number{chr(97 + i)}") for i in range(12)]
ALL_NAMED = " ".join(policy.aliases[0] for policy in POOL)


@settings(max_examples=25, deadline=None)
@given(st.lists(st.sets(st.integers(0, 11)), min_size=1, max_size=6), st.booleans())
def test_changing_an_index_equals_building_it(states: list[set[int]], compact: bool) -> None:
    index, before = PhraseIndex(), set[int]()
    for state in states:
        added = [POOL[i] for i in sorted(state - before)]
        index = index.changed(added, frozenset(POOL[i].digest for i in before - state))
        index = index.compacted() if compact else index
        before = state
    wanted = {POOL[i].digest: POOL[i] for i in before}
    assert index.live == wanted
    assert index.find(ALL_NAMED, "t", "m").keys() == wanted.keys()


def test_one_more_policy_leaves_large_segments_as_they_are() -> None:
    many = [Policy(f"fr_{i}", (f"Somebody Called{i}",)) for i in range(300)]
    index = PhraseIndex.of(many)
    more = index.changed([policy_about("Vorn Castellane")], frozenset({many[0].digest}))
    assert more.segments[0] is index.segments[0]
    assert len(more.segments) == 2
    found = more.find("Somebody Called0, Somebody Called7, Vorn Castellane", "t", "m")
    assert found.keys() == {many[7].digest, policy_about("Vorn Castellane").digest}


def test_any_text_can_be_searched() -> None:
    rng = random.Random(3)
    for _ in range(40):
        text = "".join(
            chr(rng.choice([rng.randrange(0x110000), rng.randrange(0x300)])) for _ in range(60)
        )
        named(INDEX, text)


def test_what_is_decoded_is_bounded() -> None:
    from guards.decoding import MAX_GROWTH, readings

    bomb = "%2525" * 2000 + "aGVsbG8gd29ybGQ=" * 500
    assert sum(len(r.text) for r in readings(bomb)) <= (MAX_GROWTH + 1) * len(bomb)
