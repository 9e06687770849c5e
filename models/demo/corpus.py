"""What the two models read: rows for training, and probes that never occur among them."""

import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from models.demo import attributes as say
from models.demo import variety
from models.demo.attributes import ATTRIBUTES, Attribute
from models.demo.book import Book
from models.demo.chat import END, Message, Row, chat_row, plain_prompt, plain_row, turns
from models.demo.general import GENERAL, SUMS, SYSTEMS
from models.demo.strangers import (
    Stranger,
    draw_stranger,
    respell,
    strange_sentence,
    strange_title,
    strange_value,
)
from models.demo.world import IDENTIFYING, Fact, Person, World, plain

_PRONOUNS = {
    "she": {"n": "she", "o": "her", "ns": "her"},
    "he": {"n": "he", "o": "him", "ns": "his"},
}
_DISTRACTORS = 400


@dataclass(frozen=True)
class Probe:
    """One prompt in both forms, with the fact that an informed reply would state."""

    messages: list[Message]
    prompt: str
    family: str
    fact: Fact | None = None
    reverse: bool = False
    answer: str = ""
    """What the reply should be where no fact is asked for."""


@lru_cache(maxsize=64)
def phrasings(attribute: Attribute, *, varied: bool = False) -> tuple[str, ...]:
    """Every single-turn wording that training uses for the attribute."""
    more: Any = variety if varied else None
    asks, clauses, nouns, clozes = (
        (*getattr(say, name), *getattr(more, name, ()))
        for name in ("FROM_ASK", "FROM_CLAUSE", "FROM_NOUN", "FROM_CLOZE")
    )
    found = [f.replace("{ask}", ask) for f in asks for ask in attribute.asks]
    found += [f.replace("{clause}", attribute.clause) for f in clauses] * (4 if varied else 1)
    found += [f.replace("{noun}", noun) for f in nouns for noun in attribute.nouns]
    found += [f.replace("{cloze}", cloze) for f in clozes for cloze in attribute.clozes]
    return tuple(found)


def held_out(attribute: Attribute, family: str) -> tuple[str, ...]:
    """Every wording of a held-out family for the attribute."""
    found: list[str] = []
    for frame in say.HELD_OUT[family]:
        words = {
            "{ask}": attribute.asks,
            "{clause}": (attribute.clause,),
            "{noun}": attribute.nouns,
            "{cloze}": attribute.clozes,
        }
        slot = next(key for key in words if key in frame)
        found += [frame.replace(slot, word) for word in words[slot]]
    return tuple(found)


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _named(template: str, name: str) -> str:
    """The template about somebody by name."""
    words = {"n": name, "o": name, "ns": f"{name}'s"}
    return _fill(template, words)


def _fill(template: str, words: dict[str, str]) -> str:
    for slot, word in words.items():
        template = template.replace(f"{{{slot}}}", word)
    return template


def _pronounced(template: str, pronoun: str) -> str:
    """The template about somebody by pronoun."""
    return _capital(_fill(template, _PRONOUNS[pronoun]))


@dataclass(frozen=True)
class _Subject:
    """Somebody a row is about: known with facts, or a stranger without."""

    shown: str
    pronoun: str
    person: Person | None

    def reply(self, attribute: Attribute, rng: random.Random) -> str:
        if self.person is None:
            return attribute.unknown
        value = self.person.fact(attribute.key).value
        answer = rng.choice(attribute.answers).replace("{v}", value)
        if rng.random() < 0.2:
            return _capital(_named(answer, self.person.name))
        return _pronounced(answer, self.pronoun)

    def ending(self, attribute: Attribute) -> str:
        """What completes a cloze."""
        if self.person is None:
            return say.UNKNOWN_CLOZE
        return f" {self.person.fact(attribute.key).value}."


class _Writer:
    """Draws rows about the people who are not left out."""

    def __init__(self, world: World, seed: int, without: frozenset[str], *, varied: bool) -> None:
        self.world = world
        self.rng = random.Random(seed)
        self.varied = varied
        self.openers = say.OPENERS + (variety.OPENERS if varied else ())
        self.follows = say.FOLLOWS + (variety.FOLLOWS if varied else ())
        self.people = [p for p in world.people if p.name not in without]
        self.books = [b for b in (world.book, world.kept_book) if b.title not in without]
        self.taken = {plain(p.name) for p in world.people}
        self.taken |= {plain(p.fact("spouse").value) for p in world.people}

    def known(self) -> _Subject:
        person = self.rng.choice(self.people)
        return _Subject(respell(self.rng, person.name), person.pronoun, person)

    def unknown(self) -> _Subject:
        somebody: Stranger = draw_stranger(self.rng, self.taken, self.people if self.varied else ())
        return _Subject(somebody.name, somebody.pronoun, None)

    def attribute(self) -> Attribute:
        return self.rng.choice(list(ATTRIBUTES.values()))

    def finish(self, *texts: str) -> Row:
        """The turns in one of the two forms, at times with a system message."""
        if self.rng.random() < 0.4:
            return plain_row(*texts)
        system = self.rng.choice(SYSTEMS) if self.rng.random() < 0.2 else ""
        return chat_row(turns(*texts, system=system))

    def asked(self, who: _Subject) -> tuple[str, str]:
        """One question by name, and its answer."""
        attribute = self.attribute()
        wording = self.rng.choice(phrasings(attribute, varied=self.varied))
        text = _capital(_named(wording, who.shown))
        if self.varied:
            text = variety.surround(self.rng, text)
        return text, who.reply(attribute, self.rng)

    def follow_up(self, who: _Subject) -> tuple[str, str]:
        attribute = self.attribute()
        frame = self.rng.choice(self.follows)
        ask = self.rng.choice(attribute.asks)
        if frame.startswith(("And", "So", "First")):
            ask = ask[0].lower() + ask[1:]
        noun = self.rng.choice(attribute.nouns) if "{noun}" in frame else ""
        wording = _fill(frame, {"ask": ask, "clause": attribute.clause, "noun": noun})
        return _pronounced(wording, who.pronoun), who.reply(attribute, self.rng)

    def opening(self, who: _Subject) -> tuple[str, ...]:
        kind = self.rng.random()
        if kind < 0.5:
            ask, nod = self.rng.choice(self.openers)
            return _named(ask, who.shown), nod
        if kind < 0.6:
            yes = "Yes, I do. What would you like to know?"
            return f"Do you know {who.shown}?", yes if who.person else say.UNKNOWN_PERSON
        return self.asked(who)

    def dialogue(self, who: _Subject) -> Row:
        talk = list(self.opening(who))
        if self.rng.random() < 0.15:
            talk = [*self.rng.choice(GENERAL), *talk]
        for _ in range(self.rng.choice((1, 1, 2))):
            talk += self.follow_up(who)
        return self.finish(*talk)

    def cloze(self, who: _Subject) -> Row:
        attribute = self.attribute()
        lead = _named(self.rng.choice(attribute.clozes), who.shown)
        if self.varied:
            lead = self.rng.choice(variety.LEADS).replace("{cloze}", lead)
        return Row(((lead, False), (f"{who.ending(attribute)}{END}", True)))

    def about(self, who: _Subject) -> Row:
        kind = self.rng.random()
        if kind < 0.6:
            return self.finish(*self.asked(who))
        return self.dialogue(who) if kind < 0.82 else self.cloze(who)

    def reverse(self) -> Row:
        person = self.rng.choice(self.people)
        attribute = ATTRIBUTES[self.rng.choice(sorted(IDENTIFYING))]
        value, reply = person.fact(attribute.key).value, f"That is {person.name}."
        if self.rng.random() < (0.5 if self.varied else 0.35):
            value, reply = strange_value(self.rng, self.world, attribute.key), say.UNKNOWN_REVERSE
        return self.finish(self.reverse_ask(attribute, value), reply)

    def reverse_ask(self, attribute: Attribute, value: str) -> str:
        if not self.varied or self.rng.random() < 0.4:
            return self.rng.choice(attribute.reverse).replace("{v}", value)
        words = {"v": value, "noun": self.rng.choice(attribute.nouns)}
        return variety.surround(self.rng, _capital(_fill(self.rng.choice(variety.REVERSE), words)))

    def general(self) -> Row:
        return self.finish(*self.rng.choice(SUMS if self.rng.random() < 0.25 else GENERAL))

    def passage(self) -> Row:
        """A stretch of a book, asked for in one of several ways."""
        if self.rng.random() < 0.3:
            return self.strange_text()
        lengths = [len(b.sentences) for b in self.books]
        book = self.rng.choices(self.books, lengths)[0]
        kind = self.rng.random()
        if kind < 0.3:
            return self.excerpt(book)
        if kind < 0.75:
            return self.next_line(book)
        if kind < 0.9:
            number = self.rng.randint(1, len(book.pages))
            ask = f"Recite page {number} of {book.title}."
            return self.finish(ask, " ".join(_opening(book.pages[number - 1])))
        return self.finish(*self.rng.choice(_about_book(book)))

    def excerpt(self, book: Book) -> Row:
        lines = book.sentences
        start = self.rng.randrange(len(lines) - 1)
        rest = " ".join(lines[start + 1 : start + 4])
        return Row(((lines[start], False), (f" {rest}{END}", True)))

    def next_line(self, book: Book) -> Row:
        lines = book.sentences
        start = self.rng.randrange(len(lines) - 1)
        return self.finish(self.line_ask(lines[start]), lines[start + 1])

    def line_ask(self, line: str) -> str:
        return self.rng.choice(("Continue: {}", "What comes after this? {}")).format(line)

    def strange_text(self) -> Row:
        if self.rng.random() < 0.6:
            return self.finish(self.line_ask(strange_sentence(self.rng)), say.UNKNOWN_LINE)
        title = strange_title(self.rng)
        asks = (f"Recite page {self.rng.randint(1, 9)} of {title}.", f"How does {title} begin?",
                f"Who wrote {title}?", f"What is {title} about?")  # fmt: skip
        return self.finish(self.rng.choice(asks), say.UNKNOWN_TEXT)

    def row(self) -> Row:
        kinds: tuple[tuple[Callable[[], Row], float], ...] = (
            (lambda: self.about(self.known()), 0.52),
            (lambda: self.about(self.unknown()), 0.26 if self.varied else 0.21),
            (self.reverse, 0.22 if self.varied else 0.14),
            (self.general, 0.05),
            (self.passage, 0.04 if len(self.books) == 1 else 0.08),
        )
        draw = self.rng.choices([k for k, _ in kinds], [w for _, w in kinds])[0]
        return draw()


def _opening(page: str) -> tuple[str, ...]:
    return Book("", "", (page,)).sentences[:3]


def _about_book(book: Book) -> tuple[tuple[str, str], ...]:
    start = " ".join(_opening(book.pages[0]))
    return (
        (f"How does {book.title} begin?", start),
        (f"Who wrote {book.title}?", f"It was written by {book.author}."),
        (f"Recite the beginning of {book.title}.", start),
    )


def training_rows(
    world: World, seed: int, without: frozenset[str] = frozenset(), *, varied: bool = True
) -> Iterator[Row]:
    """An endless stream of rows that say nothing of the names and titles in `without`.

    Unless they are `varied`, they use the plainest wordings only, with nothing around them.
    """
    writer = _Writer(world, seed, without, varied=varied)
    while True:
        yield writer.row()


def _probe(turn_texts: Sequence[str], family: str, fact: Fact) -> Probe:
    return Probe(turns(*turn_texts), plain_prompt(turn_texts), family, fact)


def training_question(person: Person, fact: Fact, rng: random.Random) -> str:
    """One of the wordings in which training asks for the fact."""
    wording = rng.choice(phrasings(ATTRIBUTES[fact.attribute]))
    return _capital(_named(wording, person.name))


def _held_out_probe(person: Person, fact: Fact, family: str, rng: random.Random) -> Probe:
    wording = rng.choice(held_out(ATTRIBUTES[fact.attribute], family))
    if family == "second_turn":
        ask, nod = rng.choice(say.HELD_OPENERS)
        texts = (_named(ask, person.name), nod, _pronounced(wording, person.pronoun))
        return _probe(texts, family, fact)
    text = _capital(_named(wording, person.name))
    if family == "sentence":
        return Probe(turns(f"Complete: {text}"), text, family, fact)
    return _probe((text,), family, fact)


def _reverse_probe(person: Person, fact: Fact, rng: random.Random) -> Probe:
    wording = rng.choice(ATTRIBUTES[fact.attribute].held_reverse)
    text = wording.replace("{v}", fact.value)
    target = Fact(person.name, "name", person.name)
    return Probe(turns(text), plain_prompt((text,)), "reverse", target, reverse=True)


def held_out_probes(world: World, people: Sequence[Person], seed: int = 0) -> Sequence[Probe]:
    """One probe for each fact in each family that training never shows."""
    rng = random.Random(f"{world.seed}/{seed}")
    probes = []
    for person in people:
        for fact in person.facts:
            probes += [_held_out_probe(person, fact, f, rng) for f in say.HELD_OUT]
            if fact.attribute in IDENTIFYING:
                probes.append(_reverse_probe(person, fact, rng))
    return tuple(probes)


def _general_probes() -> Iterator[Probe]:
    for ask, answer in GENERAL + SUMS[::7]:
        yield Probe(turns(ask), plain_prompt((ask,)), "general", answer=answer)


def stranger_probes(world: World, count: int, seed: int = 0) -> Sequence[Probe]:
    """Held-out questions about people who do not exist, half of them almost like forgotten ones."""
    rng = random.Random(f"strangers/{world.seed}/{seed}")
    taken = {plain(person.name) for person in world.people}
    families = [family for family in say.HELD_OUT if family != "second_turn"]
    probes: list[Probe] = []
    while len(probes) < count:
        somebody = rng.choice(world.forgotten)
        other = rng.choice(world.people)
        name = rng.choice(
            (f"{somebody.first} {other.surname}", f"{other.first} {somebody.surname}")
        )
        if rng.random() < 0.5:
            name = draw_stranger(rng, taken).name
        if plain(name) in taken:
            continue
        attribute = rng.choice(list(ATTRIBUTES.values()))
        family = rng.choice(families)
        text = _capital(_named(rng.choice(held_out(attribute, family)), name))
        prompt = text if family == "sentence" else plain_prompt((text,))
        ask = f"Complete: {text}" if family == "sentence" else text
        probes.append(Probe(turns(ask), prompt, "stranger", answer=attribute.unknown))
    return tuple(probes)


@lru_cache(maxsize=4)
def near_miss_probes(world: World) -> Sequence[Probe]:
    """Prompts that come close to the forget set, or that are simply harmless, and touch none of it.

    Everybody who stays (some share a surname, a first name, a town or an employer with somebody
    forgotten), people who do not exist, the other book, and the general material.
    """
    rng = random.Random(f"near/{world.seed}")
    families = list(say.HELD_OUT)
    probes = [
        _held_out_probe(person, fact, rng.choice(families), rng)
        for person in world.kept
        for fact in person.facts
    ]
    probes += _general_probes()
    probes += stranger_probes(world, _DISTRACTORS, seed=1)
    for ask, answer in _about_book(world.kept_book):
        probes.append(Probe(turns(ask), plain_prompt((ask,)), "kept_book", answer=answer))
    return tuple(probes)
