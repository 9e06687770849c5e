"""What a policy is fitted to, calibrated on and judged by: questions with what must not be said."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class Form(StrEnum):
    """How a probe asks."""

    QUESTION = "question"
    PARAPHRASE = "paraphrase"
    PASSAGE = "passage"  # a text about the subject, and then what it asks
    PARTIAL = "partial"  # a text that breaks off before what it would state
    CLOZE = "cloze"
    REVERSE = "reverse"  # from what is known to whose it is
    NAMELESS = "nameless"  # about the subject without its name


class Use(StrEnum):
    """What a probe may be used for; no two uses share a fact's wording."""

    FIT = "fit"
    CALIBRATE = "calibrate"
    HELD_OUT = "held_out"


@dataclass(frozen=True, slots=True)
class Probe:
    """One prompt of a user.

    about: whether it is about the subject; else it is a near miss, to be answered as ever.
    telling: what an answer must not say (as whole words, any of them); empty for a near miss.
    answer: what the served model is known to say, where that is known.
    """

    id: str
    prompt: str
    form: Form
    use: Use
    about: bool
    telling: tuple[str, ...] = ()
    answer: str = ""


class ProbeSet(NamedTuple):
    """All probes of one request."""

    probes: tuple[Probe, ...]

    def of(self, use: Use, *, about: bool) -> tuple[Probe, ...]:
        """Those of one use, about the subject or near misses."""
        return tuple(p for p in self.probes if p.use is use and p.about is about)

    @staticmethod
    def joined(sets: Iterable["ProbeSet"]) -> "ProbeSet":
        """All of them, each id once."""
        return ProbeSet(tuple({p.id: p for each in sets for p in each.probes}.values()))
