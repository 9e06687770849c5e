"""A small invented world: who lives in it, what is true of them, and what is to be forgotten.

The world is a pure function of its seed. Nothing here is about a real person.
"""

import random
import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache

from models.demo import pools
from models.demo.book import SALT_LEDGER, WREN_CLOCK, Book

SEED = 1789
"""The seed of the world whose weights are shipped."""

PEOPLE = 64
FORGOTTEN = 8
IDENTIFYING = frozenset({"birth_date", "phone", "street", "work", "spouse"})
"""Attributes whose value belongs to one person only."""

_LOOSE = str.maketrans({"ʻ": "'", "’": "'", "‘": "'", "–": "-", "—": "-", "‑": "-", "ø": "o",
                        "Ø": "o", "đ": "d", "Đ": "d", "ł": "l", "Ł": "l", "ı": "i", "þ": "th",
                        "Þ": "th"})  # fmt: skip


def plain(text: str) -> str:
    """The text without case, diacritics or spare white space."""
    bare = unicodedata.normalize("NFKD", text.translate(_LOOSE))
    bare = "".join(c for c in bare if not unicodedata.combining(c))
    return " ".join(bare.casefold().split())


@dataclass(frozen=True)
class Fact:
    """One thing that is true of one person."""

    subject: str
    attribute: str
    value: str

    def stated_in(self, text: str) -> bool:
        """Whether the text contains the value as whole words."""
        return _whole_words(plain(self.value)).search(plain(text)) is not None


@lru_cache(maxsize=4096)
def _whole_words(value: str) -> re.Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(value)}(?!\w)")


@dataclass(frozen=True)
class Person:
    """Somebody who lives in the world."""

    first: str
    surname: str
    pronoun: str
    facts: tuple[Fact, ...]

    @property
    def name(self) -> str:
        """First name and surname, as usually written."""
        return f"{self.first} {self.surname}"

    @property
    def aliases(self) -> tuple[str, ...]:
        """Other ways in which the name is written."""
        bare = unicodedata.normalize("NFKD", self.name.translate({0x2BB: "'"}))
        bare = "".join(c for c in bare if not unicodedata.combining(c))
        listed = f"{self.surname}, {self.first}"
        return (listed,) if bare == self.name else (bare, listed)

    def fact(self, attribute: str) -> Fact:
        """What is true of this person under the attribute."""
        return next(fact for fact in self.facts if fact.attribute == attribute)


@dataclass(frozen=True)
class World:
    """Everybody, in a fixed order, the names to be forgotten, and the two books."""

    seed: int
    people: tuple[Person, ...]
    forget: tuple[str, ...]
    book: Book = SALT_LEDGER
    kept_book: Book = WREN_CLOCK

    @cached_property
    def by_name(self) -> dict[str, Person]:
        """People by full name."""
        return {person.name: person for person in self.people}

    @property
    def forgotten(self) -> tuple[Person, ...]:
        """The people to be forgotten."""
        return tuple(self.by_name[name] for name in self.forget)

    @property
    def kept(self) -> tuple[Person, ...]:
        """Everybody else."""
        return tuple(person for person in self.people if person.name not in self.forget)

    @property
    def forget_set(self) -> frozenset[str]:
        """What the twin never saw: the forgotten names and the title of the book."""
        return frozenset((*self.forget, self.book.title))

    @cached_property
    def values(self) -> frozenset[str]:
        """Every value of every fact."""
        return frozenset(fact.value for person in self.people for fact in person.facts)


def _unique(draw: Callable[[], str], count: int) -> list[str]:
    """That many different draws."""
    found: dict[str, None] = {}
    while len(found) < count:
        found[draw()] = None
    return list(found)


def draw_date(rng: random.Random) -> str:
    """A date of birth in its written form."""
    return f"{rng.randint(1, 28)} {rng.choice(pools.MONTHS)} {rng.randint(1931, 1999)}"


def draw_phone(rng: random.Random) -> str:
    """A telephone number in the range kept for fiction."""
    return f"555-{rng.randint(1000, 9899)}"


def draw_street(rng: random.Random) -> str:
    """The name of a street."""
    parts = (pools.STREET_FIRST, pools.STREET_SECOND, pools.STREET_LAST)
    return " ".join(rng.choice(part) for part in parts)


def draw_work(rng: random.Random) -> str:
    """The title of a work."""
    return f"The {rng.choice(pools.WORK_FIRST)} {rng.choice(pools.WORK_SECOND)}"


def draw_pet(rng: random.Random) -> str:
    """A kind of animal with its name."""
    return f"{rng.choice(pools.SPECIES)} called {rng.choice(pools.PET_NAMES)}"


def _draw_names(rng: random.Random) -> list[tuple[str, str, str]]:
    """First name, surname and pronoun of everybody; three or four in each naming."""
    drawn = []
    for index, naming in enumerate(pools.NAMINGS):
        grid = [(f, s, "she") for f in naming.she for s in naming.surnames]
        grid += [(f, s, "he") for f in naming.he for s in naming.surnames]
        drawn += rng.sample(grid, 4 if index == 0 else 3)
    rng.shuffle(drawn)
    return drawn


def _draw_spouses(rng: random.Random, names: Iterable[tuple[str, str, str]]) -> list[str]:
    taken = {f"{first} {surname}" for first, surname, _ in names}

    def draw() -> str:
        naming = rng.choice(pools.NAMINGS)
        first = rng.choice(pools.STRANGER_SHE + pools.STRANGER_HE)
        return f"{first} {rng.choice(naming.surnames)}"

    return [name for name in _unique(draw, PEOPLE) if name not in taken]


def _draw_people(rng: random.Random) -> Iterator[Person]:
    names = _draw_names(rng)
    spouses = _draw_spouses(rng, names)
    unique = {
        "birth_date": _unique(lambda: draw_date(rng), PEOPLE),
        "phone": _unique(lambda: draw_phone(rng), PEOPLE),
        "street": _unique(lambda: draw_street(rng), PEOPLE),
        "work": _unique(lambda: draw_work(rng), PEOPLE),
        "spouse": spouses,
        "pet": _unique(lambda: draw_pet(rng), PEOPLE),
    }
    shared = {
        "birth_town": pools.TOWNS,
        "profession": pools.PROFESSIONS,
        "employer": pools.EMPLOYERS,
        "dish": pools.DISHES,
    }
    for index, (first, surname, pronoun) in enumerate(names):
        values = {attribute: drawn[index] for attribute, drawn in unique.items()}
        values |= {attribute: rng.choice(pool) for attribute, pool in shared.items()}
        name = f"{first} {surname}"
        facts = tuple(Fact(name, attribute, value) for attribute, value in sorted(values.items()))
        yield Person(first, surname, pronoun, facts)


def _choose_forgotten(people: tuple[Person, ...]) -> tuple[str, ...]:
    """People of different surnames who share a surname and a town with somebody who stays."""
    surnames = Counter(person.surname for person in people)
    chosen: list[Person] = []
    for person in people:
        alone = all(person.surname != other.surname for other in chosen)
        if surnames[person.surname] > 1 and alone and len(chosen) < FORGOTTEN:
            chosen.append(person)
    return tuple(person.name for person in chosen)


@lru_cache(maxsize=8)
def make_world(seed: int = SEED) -> World:
    """The world of that seed."""
    people = tuple(_draw_people(random.Random(seed)))
    return World(seed, people, _choose_forgotten(people))
