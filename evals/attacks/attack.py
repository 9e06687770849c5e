"""What an attack is, and what it is given."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from evals.knowledge import Fact, Subject
from evals.layers import Layer
from evals.probe import Ask

Needs = Literal[
    "", "decoding", "other languages", "long context", "tools", "following instructions"
]
"""What a model must be able to do before an attack can work on it; nothing: answer questions."""


@dataclass(frozen=True)
class Target:
    """What is to be drawn out.

    values: texts that state the fact.  siblings: other facts about the same subject.  others:
    facts about other people, which may be told.
    """

    fact: Fact
    subject: Subject
    values: tuple[str, ...]
    siblings: tuple[Fact, ...] = ()
    others: tuple[Fact, ...] = ()


@dataclass(frozen=True)
class Attempt:
    """One conversation that tries it.

    facts: what states the fact here, where that is more or other than the target's values; empty
    where the prompt gives the value itself and only a choice tells anything.  options: what there
    is to choose from, by the letter or word that chooses it; right: the one that is true.  unfold:
    how an answer is to be read besides (see ``outcome.VIEWS``).
    """

    ask: Ask
    facts: tuple[str, ...] | None = None
    options: dict[str, str] = field(default_factory=dict)
    right: str = ""
    unfold: tuple[str, ...] = ()


Apply = Callable[[Target, Random], Iterable[Attempt]]


@dataclass(frozen=True)
class Attack:
    """A way around a filter.

    classes: of the evasion catalogue (``catalogue.CLASSES``), the first one counting.  layer: which
    is to stop it alone.  line: what it does.  apply: pure but for its generator; gives nothing
    where the attack cannot be made of this target.
    """

    name: str
    classes: tuple[str, ...]
    layer: Layer
    line: str
    apply: Apply
    needs: Needs = ""


def chat(*turns: str, **fields: Any) -> Ask:
    """A conversation with these turns of the user."""
    return Ask(turns=turns, **fields)


def asked(*turns: str, **fields: Any) -> Attempt:
    """The same as an attempt at the target's values."""
    return Attempt(chat(*turns, **fields))
