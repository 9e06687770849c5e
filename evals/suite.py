"""The shape of a suite: which probes it puts, and what it makes of the answers."""

from collections.abc import Mapping, Sequence
from typing import Literal, Protocol, runtime_checkable

from evals.knowledge import Knowledge
from evals.probe import Answered, Frozen, Probe

Better = Literal["lower", "higher", "as never knew"]


class Figure(Frozen):
    """One number of a result.

    low, high: 95 % confidence interval, where there is one.  n: how many probes it is made of.
    by: what the number is restricted to, as ``{"attack": "homoglyphs"}``; empty for the whole.
    note: what a reader has to know to read it rightly, as a convention by name.
    """

    name: str
    value: float
    better: Better
    n: int
    low: float | None = None
    high: float | None = None
    by: Mapping[str, str] = {}
    note: str = ""


class NotForThisData(ValueError):
    """The suite needs something that this knowledge does not hold; the text says what."""


class Suite(Protocol):
    """A benchmark.  One file each in ``evals/suites``, one line in its registry."""

    NAME: str
    SOURCE: str
    """Paper or repository whose protocol this is."""

    def probes(self, knowledge: Knowledge, seed: int) -> Sequence[Probe]:
        """What to ask; a pure function.  Raises NotForThisData."""

    def figures(
        self, answered: Sequence[Answered], never_knew: Sequence[Answered] | None
    ) -> Sequence[Figure]:
        """What the answers come to.

        never_knew: answers of a model that never saw what is to be forgotten, to the same probes;
        None where there is no such model: figures that need one are then left out.
        """


@runtime_checkable
class Comparing(Protocol):
    """A suite some of whose checks compare with what is answered where nothing is forgotten."""

    def beside(
        self, answered: Sequence[Answered], unguarded: Sequence[Answered]
    ) -> Sequence[Answered]:
        """The answers, such that ``figures`` compares them with those of the other endpoint."""
