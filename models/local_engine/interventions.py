"""What may be done inside the model while it generates, as plain functions.

Each point of the model has one field here and one hook in ``installed``; a further point
(activations, logits) is a further field and a further hook.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

EmbeddingHook = Callable[[Tensor, NDArray[np.int64]], Tensor]


class InterventionFailed(ValueError):
    """A hook returned something that cannot stand for what it was given."""


@dataclass(frozen=True)
class Interventions:
    """The interventions of one generation.

    embedding: called with the rows [tokens, hidden] that enter the first layer and their absolute
    positions [tokens], for prompt and generated tokens alike; returns the same shape and dtype,
    finite.  It must be a pure function of both, as a prompt may be visited in pieces.
    """

    embedding: EmbeddingHook | None = None


NONE = Interventions()


class Row(NamedTuple):
    """One sequence of a forward pass.  positions: [tokens], -1 where there is only padding."""

    positions: NDArray[np.int64]
    interventions: Interventions


@contextmanager
def installed(first_layer: nn.Module, rows: Sequence[Row]) -> Iterator[None]:
    """The rows' interventions act in every forward pass within; nothing is left behind."""
    if all(row.interventions.embedding is None for row in rows):
        yield
        return

    def before_first_layer(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        del module
        if args:
            return (_with_embeddings(args[0], rows), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": _with_embeddings(kwargs["hidden_states"], rows)}

    handle = first_layer.register_forward_pre_hook(before_first_layer, with_kwargs=True)
    try:
        yield
    finally:
        handle.remove()


def _with_embeddings(hidden: Tensor, rows: Sequence[Row]) -> Tensor:
    """hidden: [rows, tokens, hidden]; a new tensor, changed only where a row has a hook."""
    changed = hidden.clone()
    for index, (positions, interventions) in enumerate(rows):
        if interventions.embedding is not None:
            real = torch.from_numpy(np.flatnonzero(positions >= 0)).to(hidden.device)
            old = hidden[index, real]
            new = interventions.embedding(old.clone(), positions[positions >= 0])
            changed[index, real] = _checked(new, old)
    return changed


def _checked(new: Tensor, old: Tensor) -> Tensor:
    if new.shape != old.shape or new.dtype != old.dtype or not bool(new.isfinite().all()):
        raise InterventionFailed("a hook changed the shape or dtype, or returned infinite values")
    return new
