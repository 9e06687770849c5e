"""Have agents rewrite the answer: audit and erase, criticise, compose.

Source: Sanyal and Mandal, "Agents Are All You Need for LLM Unlearning" (ALU, 2025).  Here the case
only gets the plan; whoever holds the answer carries it out.
"""

from dataclasses import dataclass

from guards.case import Case, Match, Rewrite
from guards.needs import Needs
from guards.options import check_integer, check_text
from guards.points import Guard

MOST_VARIANTS = 5
LONGEST = 2_000
DEFAULT = "I do not know anything about that."


@dataclass(frozen=True)
class AgentRewrite(Guard):
    """Let nothing of the answer leave before it was rewritten without the subject.

    variants: how many edited answers the critic rates (the paper: 5).  fallback: what is said
    where they are not good enough, or not there in time; None for a short default.
    Raises InvalidOption for anything else.
    """

    NEEDS = Needs(streams=False)

    variants: int = 3
    fallback: str | None = None

    def __post_init__(self) -> None:
        check_integer("variants", self.variants, 1, MOST_VARIANTS)
        if self.fallback is not None:
            check_text("fallback", self.fallback, LONGEST)

    def on_prompt(self, case: Case, match: Match) -> Case:
        """The case with the plan, joined with that of other policies."""
        fallback = DEFAULT if self.fallback is None else self.fallback
        return case.to_be_rewritten(Rewrite((match.policy,), self.variants, fallback))
