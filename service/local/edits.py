"""Signed edits as interventions of the in-process engine."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guards.case import Edit
from guards.points import OnEmbedding
from models.local_engine import Interventions, LocalEngine, Sampling
from service.admission import CheckedArtifacts

_PROBE = 4


class NotEffective(RuntimeError):
    """What is done to the embeddings does not reach this model."""


def interventions(
    edits: Sequence[Edit], artifacts: CheckedArtifacts, scale: float
) -> Interventions:
    """What the edits ask for, in their order.  Raises Refused where an artifact cannot be had.

    scale: root mean square of the model's embedding table.
    """
    ready = [(artifacts.get(edit.guard, edit.artifact), edit) for edit in edits]
    if not ready:
        return Interventions()

    def embedding(rows: Tensor, positions: NDArray[np.int64]) -> Tensor:
        for (guard, artifact), edit in ready:
            named = np.flatnonzero(_inside(positions, edit))
            if len(named) and issubclass(guard, OnEmbedding):
                at = torch.from_numpy(named).to(rows.device)
                rows = rows.clone()
                rows[at] = guard.on_embedding(rows[at], positions[named], artifact, scale)
        return rows

    return Interventions(embedding=embedding)


def prove_effect(engine: LocalEngine) -> None:
    """Raise NotEffective unless interventions are called for a prompt and decide its answer.

    Two prompts whose embeddings are made equal must give equal answers, and be seen in full.
    """
    seen: list[int] = []

    def same_for_all(rows: Tensor, positions: NDArray[np.int64]) -> Tensor:
        seen.extend(positions.tolist())
        return torch.ones_like(rows) * engine.embedding_rms

    answers = {
        token: list(
            engine.generate(
                [token] * _PROBE,
                Sampling(max_tokens=2, ignore_eos=True),
                Interventions(same_for_all),
            )
        )
        for token in (1, engine.vocab_size - 1)
    }
    if len({tuple(answer) for answer in answers.values()}) != 1 or seen != [0, 1, 2, 3, 4] * 2:
        raise NotEffective("edits of the embeddings do not reach this model")


def _inside(positions: NDArray[np.int64], edit: Edit) -> NDArray[np.bool_]:
    inside = np.zeros(len(positions), dtype=bool)
    for start, end in edit.positions:
        inside |= (positions >= start) & (positions < end)
    return inside
