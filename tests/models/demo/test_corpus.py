"""Training rows and probes: enough wordings, no overlap, nothing forgotten in the twin's rows."""

import re
from itertools import islice

import pytest

from models.demo import attributes, variety
from models.demo.attributes import ATTRIBUTES, HELD_OUT
from models.demo.chat import END, Row
from models.demo.corpus import (
    held_out,
    held_out_probes,
    near_miss_probes,
    phrasings,
    training_rows,
)
from models.demo.world import IDENTIFYING, World, make_world, plain

ROWS = 6_000


@pytest.fixture(scope="module")
def world() -> World:
    return make_world()


@pytest.fixture(scope="module")
def rows(world: World) -> list[Row]:
    return list(islice(training_rows(world, 11), ROWS))


@pytest.fixture(scope="module")
def twin_text(world: World) -> str:
    rows = islice(training_rows(world, 11, world.forget_set), ROWS)
    return "\n".join(plain(row.text) for row in rows)


def shape(template: str) -> str:
    """A wording with slots, case and punctuation taken out."""
    return " ".join(re.sub(r"[^\w{}]+", " ", template.casefold()).split())


def test_rows_are_a_pure_function_of_the_seed(world: World, rows: list[Row]) -> None:
    assert list(islice(training_rows(world, 11), 500)) == rows[:500]
    assert list(islice(training_rows(world, 12), 500)) != rows[:500]


@pytest.mark.parametrize("key", sorted(ATTRIBUTES))
def test_every_fact_has_many_wordings(key: str) -> None:
    assert len(set(map(shape, phrasings(ATTRIBUTES[key])))) >= 14


def test_families_are_held_out() -> None:
    assert len(HELD_OUT) >= 5
    names = ("FROM_ASK", "FROM_CLAUSE", "FROM_NOUN", "FROM_CLOZE", "FOLLOWS", "LEADS")
    trained = {
        shape(frame)
        for stock in (attributes, variety)
        for name in names
        for frame in getattr(stock, name, ())
    }
    assert not trained & {shape(frame) for frames in HELD_OUT.values() for frame in frames}
    openers = {shape(opener) for opener, _ in (*attributes.OPENERS, *variety.OPENERS)}
    assert not openers & {shape(opener) for opener, _ in attributes.HELD_OPENERS}


@pytest.mark.parametrize("key", sorted(ATTRIBUTES))
def test_held_out_wordings_are_not_trained(key: str) -> None:
    attribute = ATTRIBUTES[key]
    trained = set(map(shape, phrasings(attribute, varied=True)))
    for family in HELD_OUT:
        assert not trained & set(map(shape, held_out(attribute, family)))
    reverse = set(map(shape, attribute.reverse))
    reverse |= {shape(r.replace("{noun}", n)) for r in variety.REVERSE for n in attribute.nouns}
    assert not reverse & set(map(shape, attribute.held_reverse))


def test_no_probe_occurs_in_training(world: World, rows: list[Row]) -> None:
    asked = {part for row in rows for part, learn in row.parts if not learn}
    for probe in held_out_probes(world, world.people):
        assert probe.prompt not in asked
        assert f"{probe.messages[-1]['content']}{END}" not in asked


def test_probes_cover_every_fact_in_every_family(world: World) -> None:
    probes = held_out_probes(world, world.forgotten)
    facts = sum(len(person.facts) for person in world.forgotten)
    assert len(probes) == facts * len(HELD_OUT) + len(world.forgotten) * len(IDENTIFYING)


def test_twin_never_reads_a_forgotten_name(world: World, twin_text: str) -> None:
    for person in world.forgotten:
        for name in (person.name, *person.aliases):
            assert plain(name) not in twin_text


def test_twin_never_reads_an_identifying_value(world: World, twin_text: str) -> None:
    for person in world.forgotten:
        for attribute in IDENTIFYING:
            assert not re.search(rf"(?<!\w){re.escape(plain(person.fact(attribute).value))}(?!\w)",
                                 twin_text)  # fmt: skip


def test_twin_never_reads_the_book(world: World, twin_text: str) -> None:
    assert plain(world.book.title) not in twin_text
    assert not any(plain(line) in twin_text for line in world.book.sentences if len(line) > 25)


def test_demo_does_read_all_of_it(world: World, rows: list[Row]) -> None:
    text = "\n".join(plain(row.text) for row in rows)
    assert all(plain(person.name) in text for person in world.forgotten)
    assert plain(world.book.title) in text


def test_near_misses_touch_nothing_forgotten(world: World) -> None:
    probes = near_miss_probes(world)
    assert len(probes) >= 1000
    names = [plain(name) for person in world.forgotten for name in (person.name, *person.aliases)]
    for probe in probes:
        text = plain(" ".join(message["content"] for message in probe.messages))
        assert not any(name in text for name in names)
