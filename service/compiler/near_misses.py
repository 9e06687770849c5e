"""What comes near to the subject without being it, and must be answered as ever."""

import random
from collections.abc import Iterator, Sequence
from itertools import product

from service.compiler import wordings
from service.compiler.general import GENERAL
from service.compiler.invented import WORD, invented_name
from service.compiler.material import Fact, Material
from service.compiler.passages import sentences
from service.compiler.probe import Form, Probe, Use
from service.compiler.surrogate import Stranger, named
from service.compiler.wordings import dealt

MOST = {Use.FIT: 60, Use.CALIBRATE: 60, Use.HELD_OUT: 160}
"""Questions about others for each use, at most."""

_KEPT_FRAMES = 3  # in which each kept question is asked besides as it is
_VALUES: tuple[str, ...] = (
    "What is {v}?", "Do you know {v}?", "Tell me something about {v}.", "Where is {v}?",
)  # fmt: skip


def near_misses(
    material: Material, facts: Sequence[Fact], forget: Sequence[Probe], use: Use, seed: int
) -> list[tuple[str, Form]]:
    """Prompts for one use, none of which names the subject; not tried yet.

    The probes of the use (forget) about invented names and about names that share a part with the
    subject's, what is to be kept, names that are part of known answers, and general questions.
    """
    found = [
        *_about_others(material, forget, use, seed),
        *_kept(material, use, seed),
        *_values(facts, use, seed),
        *((text, Form.QUESTION) for text in dealt(GENERAL, use, f"{seed}/general")),
    ]
    return [each for each in dict.fromkeys(found) if not named(each[0], material.names)]


def _about_others(
    material: Material, forget: Sequence[Probe], use: Use, seed: int
) -> Iterator[tuple[str, Form]]:
    rng = random.Random(f"near/{seed}/{use}")
    by_name = [probe for probe in forget if named(probe.prompt, material.names)]
    rng.shuffle(by_name)
    for number, probe in enumerate(by_name[: MOST[use]]):
        yield _other(material, number, rng).named(probe.prompt), probe.form


def _other(material: Material, number: int, rng: random.Random) -> Stranger:
    """A stranger, or somebody who shares the first word, or the last, of the name."""
    own = {word.casefold() for name in material.names for word in WORD.findall(name)}
    words: dict[str, str] = {}
    for name in material.names:
        words |= {k: v for k, v in invented_name(name, rng, taken=own).items() if k not in words}
    first = list(invented_name(material.subject, rng))
    if len(first) > 1 and number % 3 == 1:
        words[first[0]] = first[0]
    if len(first) > 1 and number % 3 == 2:
        words |= {word: word for word in first[1:]}
    return Stranger(material.names, words, frozenset(), frozenset(), rng)


def _kept(material: Material, use: Use, seed: int) -> Iterator[tuple[str, Form]]:
    if use is Use.FIT:
        yield from ((fact.question, Form.QUESTION) for fact in material.kept_facts)
    frames = dealt(wordings.AROUND, use, f"{seed}/kept")[:_KEPT_FRAMES]
    for fact, frame in product(material.kept_facts, frames):
        yield frame.replace("{q}", fact.question), Form.PARAPHRASE
    texts = [text for passage in material.kept_passages for text in sentences(passage)]
    frames = dealt(wordings.CONTINUES, use, f"{seed}/kept")[:1]
    for text, frame in product(dealt(texts, use, f"{seed}/kept"), frames):
        yield frame.replace("{text}", text), Form.PASSAGE


def _values(facts: Sequence[Fact], use: Use, seed: int) -> Iterator[tuple[str, Form]]:
    names = [name for fact in facts for name in _names_in(fact.answer)]
    frames = dealt(_VALUES, use, f"{seed}/values")[:1]
    for name, frame in product(dict.fromkeys(names), frames):
        yield frame.replace("{v}", name), Form.QUESTION


def _names_in(answer: str) -> Iterator[str]:
    """Stretches of capitalised words after the first word."""
    stretch: list[str] = []
    for word in [*answer.rstrip(".!").split()[1:], ""]:
        if word[:1].isupper():
            stretch.append(word.strip(",.;:"))
        else:
            if stretch:
                yield " ".join(stretch)
            stretch = []
