"""Where a guard acts.  Every guard decides on the prompt; a base names where it acts later."""

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING

from guards.case import Case, Match
from models.artifact import Artifact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor


class Guard(ABC):
    """One mechanism of a policy, built from its GuardSpec's options."""

    @abstractmethod
    def on_prompt(self, case: Case, match: Match) -> Case:
        """Decide what to do about one match of this guard's policy: usually, leave an edit."""


class OnEmbedding(Guard):
    """A guard that changes input embeddings in the engine."""

    @staticmethod
    @abstractmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not one that ``on_embedding`` can apply."""

    @staticmethod
    @abstractmethod
    def on_embedding(
        rows: "Tensor", positions: "NDArray[np.int64]", artifact: Artifact, scale: float
    ) -> "Tensor":
        """The rows as they shall enter the first layer.

        rows: [tokens, hidden], in the model's dtype.  positions: [tokens], absolute in the prompt.
        scale: root mean square of the model's embedding table, the unit of strengths.
        Returns the same shape and dtype, finite.  A pure function of its arguments: prefill may
        be chunked, repeated after preemption, or run on several ranks.
        """


class OnText(Guard):
    """A guard that looks at what the model writes, whether or not its policy matched the prompt."""
