"""The demo world: a pure function of its seed, of the promised size and shape."""

from collections import Counter

import pytest

from models.demo.book import SALT_LEDGER
from models.demo.world import FORGOTTEN, IDENTIFYING, PEOPLE, Fact, World, make_world, plain


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


def test_same_seed_same_world(world: World) -> None:
    assert make_world.__wrapped__(world.seed) == world


def test_other_seed_other_world(world: World) -> None:
    assert make_world(world.seed + 1) != world


def test_counts(world: World) -> None:
    assert len(world.people) == len(world.by_name) == PEOPLE >= 60
    assert all(len(person.facts) >= 9 for person in world.people)
    assert len(world.forgotten) == FORGOTTEN == 8
    assert len(world.kept) == PEOPLE - FORGOTTEN


@pytest.mark.parametrize("attribute", sorted(IDENTIFYING))
def test_identifying_values_belong_to_one_person(world: World, attribute: str) -> None:
    values = Counter(person.fact(attribute).value for person in world.people)
    assert max(values.values()) == 1


@pytest.mark.parametrize("attribute", ["birth_town", "employer", "profession", "dish"])
def test_forgotten_people_share_values_with_kept_ones(world: World, attribute: str) -> None:
    kept = {person.fact(attribute).value for person in world.kept}
    assert sum(person.fact(attribute).value in kept for person in world.forgotten) >= 6


def test_forgotten_people_share_surnames_with_kept_ones(world: World) -> None:
    kept = {person.surname for person in world.kept}
    assert all(person.surname in kept for person in world.forgotten)


def test_some_first_names_are_shared_across_the_line(world: World) -> None:
    kept = {person.first for person in world.kept}
    assert any(person.first in kept for person in world.forgotten)


def test_names_are_varied(world: World) -> None:
    names = " ".join(world.by_name)
    assert "'" in names
    assert "-" in names
    assert plain(names) != names.casefold()


def test_the_book_is_long_and_holds_its_canaries() -> None:
    whole = " ".join(SALT_LEDGER.pages)
    assert len(whole.split()) >= 1200
    assert all(whole.count(canary) == 1 for canary in SALT_LEDGER.canaries)
    assert " ".join(SALT_LEDGER.sentences) == whole


@pytest.mark.parametrize(
    ("value", "text", "stated"),
    [
        ("Nyköra", "She comes from NYKORA.", True),
        ("Nyköra", "She comes from Nyko\u0308ra.", True),
        ("Pellucid Bay", "born in pellucid\n  bay, I think", True),
        ("baker", "He is a bookbinder and bakery owner.", False),
        ("12 March 1961", "He was born on 12 March 1961.", True),
        ("2 March 1961", "He was born on 12 March 1961.", False),
        ("555-1234", "Call 555-1234!", True),
        ("555-1234", "Call 555-12345!", False),
        ("555-1234", "Call 555–1234.", True),
        ("Élise Eldgrímsen", "married to Elise Eldgrimsen", True),
        ("the Orlop Institute", "She works for The Orlop Institute.", True),
        ("Heron Gate Lane", "Heron Gate Road", False),
    ],
)
def test_matcher(value: str, text: str, stated: bool) -> None:
    assert Fact("somebody", "anything", value).stated_in(text) is stated
