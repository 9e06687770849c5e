"""Guards that fail while they edit.  Only the driver of these tests registers them."""

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from guards.case import Case, Match
from guards.points import OnEmbedding
from models.artifact import Artifact


class Raising(OnEmbedding):
    def on_prompt(self, case: Case, match: Match) -> Case:
        raise NotImplementedError

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Anything will do: admission is to let it pass."""

    @staticmethod
    def on_embedding(
        rows: Tensor, positions: NDArray[np.int64], artifact: Artifact, scale: float
    ) -> Tensor:
        raise RuntimeError("as wanted")


class NotFinite(Raising):
    @staticmethod
    def on_embedding(
        rows: Tensor, positions: NDArray[np.int64], artifact: Artifact, scale: float
    ) -> Tensor:
        return rows / 0.0
