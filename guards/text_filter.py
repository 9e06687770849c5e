"""The filter on what a model writes: nothing leaves that could still become a protected phrase."""

from dataclasses import dataclass

from guards.case import Case, Match
from guards.points import OnText


@dataclass(frozen=True)
class TextFilterGuard(OnText):
    """Filter the policy's aliases out of every answer.  It leaves the prompt alone."""

    def on_prompt(self, case: Case, match: Match) -> Case:
        """The case, unchanged."""
        return case


@dataclass(frozen=True, slots=True)
class Catch:
    """A protected phrase in an answer.  start: where it begins in the raw text."""

    policy: str
    start: int


class TextFilter:
    """One answer's filter: push deltas, release what is safe.  Not for use by several threads.

    However the text is cut into deltas, the joined releases and ``caught`` are the same.
    """

    def __init__(self) -> None:
        self.caught: Catch | None = None

    def push(self, delta: str) -> str:
        """The text that may be released now; empty once something was caught."""
        raise NotImplementedError

    def finish(self) -> str:
        """The rest, at the end of the answer."""
        raise NotImplementedError
