"""What a replica serves: one epoch, with everything that was built from it."""

from dataclasses import dataclass
from typing import Self

from guards.case import Case
from guards.policy import Epoch
from guards.text_filter import TextFilter
from models.encoder import Encoder


@dataclass(frozen=True)
class Rules:
    """One epoch, ready to decide.  Immutable; safe for many threads."""

    epoch: int

    @classmethod
    def build(
        cls,
        epoch: Epoch,
        encoder: Encoder | None,
        example_threshold: float,
        previous: Self | None = None,
    ) -> Self:
        """Rules that enforce exactly the epoch's policies, sharing with ``previous`` what stayed.

        Raises ValueError, KeyError or TypeError for a policy that cannot be enforced, and
        EncoderUnavailable where a policy has examples and there is no encoder.
        """
        raise NotImplementedError

    def decide(self, case: Case) -> Case:
        """Route the prompt and let each matched policy's guards decide, in order."""
        raise NotImplementedError

    def text_filter(self, tenant: str, model: str) -> TextFilter:
        """A fresh filter for one answer (of one choice)."""
        raise NotImplementedError

    def escalated(self, case: Case, policy: str) -> Case:
        """The case as if all of the prompt's content had touched the policy (digest).

        For a second attempt after the text filter caught something.  Raises KeyError.
        """
        raise NotImplementedError

    def compacted(self) -> Self:
        """The same rules with the index merged: seconds of work at 100,000 policies."""
        raise NotImplementedError
