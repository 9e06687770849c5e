"""What is measured, as suites see it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from evals.probe import Answered, Probe


class Measured(Protocol):
    """Something that answers probes.

    versions: what a reader needs to have the same again.
    """

    @property
    def name(self) -> str:
        """How it is called in results."""

    def versions(self) -> Mapping[str, str]:
        """Of model, engine and whatever else answers."""

    def answers(self, probes: Sequence[Probe]) -> Iterator[Answered]:
        """Every probe answered once, in any order, as they come.

        A request that is refused or fails is an ``Answered`` with its status and error; raises
        only where nothing can be reached at all.
        """
