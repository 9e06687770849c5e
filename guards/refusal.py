"""Refuse: whoever asks about the subject gets a fixed text, and no model is asked."""

from dataclasses import dataclass

from guards.case import Case, Match
from guards.options import check_text
from guards.points import Guard

LONGEST = 2_000
DEFAULT = "I cannot help with that."


@dataclass(frozen=True)
class Refusal(Guard):
    """Answer with a text.  It wins over every other guard, and it is a tell by design.

    text: the answer; None for a short default.  Raises InvalidOption for anything else.
    """

    text: str | None = None

    def __post_init__(self) -> None:
        if self.text is not None:
            check_text("text", self.text, LONGEST)

    def on_prompt(self, case: Case, match: Match) -> Case:
        """The case with its answer; of several refusals the first counts."""
        del match
        return case.answered(DEFAULT if self.text is None else self.text)
