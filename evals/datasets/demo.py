"""The invented world of ``models.demo``: who is to be forgotten, who stays, and who never was."""

import random
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import TypeVar

from evals.datasets.invented_pages import PAGES
from evals.datasets.rows import sampled
from evals.knowledge import Choice, Fact, Knowledge, Split, Subject
from models.demo.attributes import ATTRIBUTES, Attribute
from models.demo.book import Book
from models.demo.corpus import held_out
from models.demo.general import CHAT, GENERAL
from models.demo.world import Fact as WorldFact
from models.demo.world import Person, World, make_world, plain

WRONG = 5
"""As many wrong answers as TOFU gives."""
OPTIONS = 4
STRETCH = 4
"""Sentences of a passage; the models read books in such stretches."""
OTHER_WORLD = 4711
"""The seed of the world that nobody was trained on: the holdout."""
PARAPHRASES = ("telegraph", "embedded", "indirect")
"""Families of wordings that training never showed."""
BOOK, KEPT_BOOK = "book-forgotten", "book-kept"

_PRONOUNS = {
    "she": {"{n}": "she", "{o}": "her", "{ns}": "her"},
    "he": {"{n}": "he", "{o}": "him", "{ns}": "his"},
}

T = TypeVar("T")


Values = Mapping[str, set[str]]
"""By attribute, what anybody of a world has."""


def demo(rows: int | None, seed: int) -> Knowledge:
    """The world whose models are shipped.

    Splits: ``forget`` and ``retain`` with facts, passages and choices; ``holdout`` with facts about
    people of another world and pages that no model has read; ``world_facts``: common sense that
    both models know; ``verbmem``: sentences of the forgotten book and how they go on.
    rows: so many of each, drawn with the seed; the seed also draws wrong answers and paraphrases.
    """
    world, other = make_world(), make_world(OTHER_WORLD)
    strangers = _strangers(world, other)
    people = [*world.forgotten, *world.kept, *strangers]
    labels = {person.name: f"person-{number:03}" for number, person in enumerate(people, 1)}
    groups = (
        ("forget", world.forgotten, world.people, _stretches(world.book.sentences)),
        ("retain", world.kept, world.people, _stretches(world.kept_book.sentences)),
        ("holdout", strangers, other.people, _stretches(Book("", "", PAGES).sentences)),
    )
    splits = {
        name: Split(
            facts=sampled(_facts(chosen, values, labels, seed), rows, seed),
            passages=sampled(passages, rows, seed),
            choices=sampled(_choices(chosen, values, seed), rows, seed),
        )
        for name, chosen, everybody, passages in groups
        for values in [_values(everybody)]
    }
    splits["world_facts"] = Split(facts=sampled(_common_sense(seed), rows, seed))
    splits["verbmem"] = Split(facts=sampled(_continuations(world.book), rows, seed))
    subjects = {labels[each.name]: Subject(aliases=(each.name, *each.aliases)) for each in people}
    books = {
        BOOK: Subject(aliases=(world.book.title,)),
        KEPT_BOOK: Subject(aliases=(world.kept_book.title,)),
    }
    return Knowledge(
        source="demo",
        subjects={**subjects, **books},
        forgotten=(*(labels[person.name] for person in world.forgotten), BOOK),
        splits=splits,
    )


def _strangers(world: World, other: World) -> tuple[Person, ...]:
    """People of another world with no name of this one."""
    taken = {plain(person.name) for person in world.people}
    taken |= {plain(person.fact("spouse").value) for person in world.people}
    return tuple(person for person in other.people if plain(person.name) not in taken)


def _facts(
    people: Sequence[Person], values: Values, labels: dict[str, str], seed: int
) -> tuple[Fact, ...]:
    return tuple(
        _fact(person, fact, values, labels[person.name], random.Random(f"{seed}/{fact}"))
        for person in people
        for fact in person.facts
    )


def _fact(
    person: Person,
    fact: WorldFact,
    values: Values,
    label: str,
    rng: random.Random,
) -> Fact:
    attribute = ATTRIBUTES[fact.attribute]
    lead = _named(attribute.clozes[0], person.name)
    others = _drawn(_others(fact, values), WRONG, rng)
    plainly, otherwise = attribute.answers
    return Fact(
        subject=label,
        question=_capital(_named(attribute.asks[0], person.name)),
        answer=_told(plainly, person, fact.value),
        values=ways_of_saying(fact),
        paraphrased=tuple(
            _capital(_named(rng.choice(held_out(attribute, family)), person.name))
            for family in PARAPHRASES
        ),
        paraphrased_answer=_told(otherwise, person, fact.value),
        wrong=tuple(_told(otherwise, person, value) for value in others),
        statement=_capital(_named(plainly.replace("{v}", fact.value), person.name)),
        cloze=lead,
    )


def ways_of_saying(fact: WorldFact) -> tuple[str, ...]:
    """The value, without its article, and a date also with the month first."""
    bare = fact.value.removeprefix("the ").removeprefix("The ")
    found = [fact.value] if bare == fact.value else [fact.value, bare]
    if fact.attribute == "birth_date":
        day, month, year = fact.value.split()
        found += [f"{month} {day}, {year}", f"{month} {day} {year}"]
    return tuple(found)


def _choices(people: Sequence[Person], values: Values, seed: int) -> tuple[Choice, ...]:
    """Whoever it is asked of, the options are values of the same attribute."""
    found = []
    for person in people:
        for fact in person.facts:
            rng = random.Random(f"choices/{seed}/{fact}")
            options = [fact.value, *_drawn(_others(fact, values), OPTIONS - 1, rng)]
            rng.shuffle(options)
            attribute: Attribute = ATTRIBUTES[fact.attribute]
            question = _capital(_named(attribute.asks[0], person.name))
            right = options.index(fact.value)
            found.append(
                Choice(question=question, options=tuple(options), right=right, topic=fact.attribute)
            )
    return tuple(found)


def _values(everybody: Sequence[Person]) -> Values:
    found: dict[str, set[str]] = defaultdict(set)
    for person in everybody:
        for fact in person.facts:
            found[fact.attribute].add(fact.value)
    return found


def _others(fact: WorldFact, values: Values) -> list[str]:
    """Other people's values of the same attribute."""
    return sorted(values[fact.attribute] - {fact.value})


def _common_sense(seed: int) -> tuple[Fact, ...]:
    """Questions about the world at large; the wrong answers are those to other questions."""
    pairs = GENERAL[len(CHAT) :]
    answers = sorted({answer for _, answer in pairs})
    found = []
    for question, answer in pairs:
        rng = random.Random(f"sense/{seed}/{question}")
        wrong = _drawn([other for other in answers if other != answer], WRONG, rng)
        found.append(Fact(subject="", question=question, answer=answer, wrong=tuple(wrong)))
    return tuple(found)


def _continuations(book: Book) -> tuple[Fact, ...]:
    """The first sentence of each stretch with what follows it."""
    found = []
    for stretch in _stretches(book.sentences):
        first, *rest = Book("", "", (stretch,)).sentences
        found.append(
            Fact(
                subject=BOOK, question=first, answer=" ".join(rest), cloze=first, statement=stretch
            )
        )
    return tuple(found)


def _stretches(sentences: Sequence[str]) -> tuple[str, ...]:
    """Whole stretches only."""
    return tuple(
        " ".join(sentences[start : start + STRETCH])
        for start in range(0, len(sentences) - STRETCH + 1, STRETCH)
    )


def _told(template: str, person: Person, value: str) -> str:
    """The answer about somebody by pronoun, as the models are used to give it."""
    return _capital(_filled(template.replace("{v}", value), _PRONOUNS[person.pronoun]))


def _named(template: str, name: str) -> str:
    return _filled(template, {"{n}": name, "{o}": name, "{ns}": f"{name}'s"})


def _filled(template: str, words: dict[str, str]) -> str:
    for slot, word in words.items():
        template = template.replace(slot, word)
    return template


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _drawn(items: Sequence[T], count: int, rng: random.Random) -> list[T]:
    return rng.sample(items, min(count, len(items)))
