"""Fit what steers a residual stream: directions, null-space maps, conditions.

Sources: as ``guards.steering`` names them.  All of it is linear algebra over rows of hidden states,
[rows, hidden]; computed in float64, stored in float32.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.fitting.activations import Place, last_rows

Artifact = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""A manifest and its tensors, as ``ArtifactStore.put`` takes them."""


# --- directions ----------------------------------------------------------------------------------


def mean_difference(to: Tensor, away_from: Tensor) -> Tensor:
    """[hidden], from the mean of one set of rows to that of another."""
    difference: Tensor = to.double().mean(0) - away_from.double().mean(0)
    return difference


def unit(direction: Tensor) -> Tensor:
    """The direction with length 1.  Raises ValueError for one of no length."""
    length = direction.double().norm()
    if not length > 0:
        raise ValueError("a direction must have a length")
    scaled: Tensor = direction.double() / length
    return scaled


def unknown_entity_directions(
    model: Any,
    known: Sequence[Sequence[int]],
    unknown: Sequence[Sequence[int]],
    layers: Sequence[int],
) -> list[Tensor]:
    """For each layer, [hidden]: "unknown entity minus this entity" at the last prompt token.

    known: prompts that name the entity, as token ids.  unknown: the same ones with invented names.
    With refused prompts in place of unknown ones it is the refusal direction.
    """
    places: list[Place] = [("layer", layer) for layer in layers]
    to, away_from = last_rows(model, unknown, places), last_rows(model, known, places)
    return [mean_difference(to[place], away_from[place]) for place in places]


# --- null-space maps -----------------------------------------------------------------------------


def null_space_projector(retain: Tensor, ratio: float) -> Tensor:
    """[hidden, hidden]: onto the ``ratio`` of all directions in which retained rows are least.

    The last right singular vectors of H^T H, which are its eigenvectors of the least values
    (MLLMEraser; AlphaSteer, section 3).  Raises ValueError where nothing would be left.
    """
    rows = retain.double()
    count = int(ratio * rows.shape[1])
    if not 0 < count <= rows.shape[1]:
        raise ValueError("the ratio must leave at least one direction, and at most all")
    _, vectors = torch.linalg.eigh(rows.T @ rows)  # values ascend
    least = vectors[:, :count]
    projector: Tensor = least @ least.T
    return projector


def map_read(forget: Tensor, projector: Tensor, ridge: float) -> Tensor:
    """[hidden], the a of the map M = a r^T that takes forgotten rows to r and retained ones to 0.

    The ridge solution is D = (X^T X + g P^T P)^+ X^T R with X = H P and every row of R equal to r,
    so D = ((X^T X + g P^T P)^+ X^T 1) r^T has rank 1, and so has M = P D.
    """
    rows = forget.double() @ projector
    system = rows.T @ rows + ridge * projector.T @ projector
    read: Tensor = projector @ (torch.linalg.pinv(system, hermitian=True) @ rows.sum(0))
    return read


# --- conditions ----------------------------------------------------------------------------------


def condition_basis(
    positive: Tensor, negative: Tensor, rank: int = 1, how: Literal["pca", "mean"] = "pca"
) -> Tensor:
    """[rank, hidden], orthonormal: the directions in which two sets of rows differ.

    ``pca``: of the rows less the mean of both sets' means (CAST, section 3.2).  ``mean``: the
    difference of the means; of rank 1.  Raises ValueError where there are not as many directions.
    """
    if how == "mean":
        if rank != 1:
            raise ValueError("a difference of means is of rank 1")
        return unit(mean_difference(positive, negative))[None]
    one, other = positive.double(), negative.double()
    rows = torch.cat([one, other]) - (one.mean(0) + other.mean(0)) / 2
    if not 0 < rank <= min(rows.shape):
        raise ValueError("there are not as many directions")
    directions: Tensor = torch.linalg.svd(rows, full_matrices=False).Vh
    return directions[:rank]


def shares(rows: Tensor, basis: Tensor) -> Tensor:
    """[rows], the cosine of each row and its projection on the basis: what a condition compares."""
    wide = rows.double()
    left = (wide @ basis.double().T).norm(dim=1)
    cosines: Tensor = left / wide.norm(dim=1).clamp(min=1e-30)
    return cosines


class Threshold(NamedTuple):
    """Where a condition holds.  balanced: mean of the shares of both sets that it judges right."""

    value: float
    above: bool
    balanced: float


def best_threshold(positive: Tensor, negative: Tensor) -> Threshold:
    """The threshold, and its side, that best parts two sets of ``shares``.

    Midway between neighbouring values, so that there is room on both sides; of equals the one in
    the widest gap.
    """
    known = np.unique(torch.cat([positive, negative]).double().numpy())
    if len(known) < 2:
        raise ValueError("all rows are alike")
    found = []
    for low, high in pairwise(known):
        middle = float(low + high) / 2
        over = float((positive > middle).double().mean() + (negative < middle).double().mean()) / 2
        found.append((max(over, 1 - over), float(high - low), middle, over >= 0.5))
    balanced, _, value, above = max(found)
    return Threshold(value, above, balanced)


# --- artifacts -----------------------------------------------------------------------------------


@dataclass(frozen=True)
class Condition:
    """When a step acts.  bases: each [rank, hidden].

    layer: where the last prompt token is read, with one basis; None: every position at each of the
    step's layers, with a basis for each.
    """

    bases: Sequence[Tensor]
    threshold: float
    above: bool = True
    layer: int | None = None


@dataclass(frozen=True)
class Step:
    """One step.  vectors: [hidden] for each layer: what is added, taken out or written.

    reads: for a map, [hidden] for each layer.  last_prompt_token: a map reads that token alone.
    """

    kind: Literal["add", "ablate", "map"]
    layers: Sequence[int]
    vectors: Sequence[Tensor]
    strength: float = 1.0
    keep_norm: bool = False
    reads: Sequence[Tensor] = ()
    last_prompt_token: bool = False
    condition: Condition | None = None


def steering(steps: Sequence[Step], *, prompt: bool = True, generated: bool = True) -> Artifact:
    """The artifact of these steps, in their order.

    prompt, generated: whether positions of the prompt, and generated ones, are changed.
    """
    tensors: dict[str, NDArray[Any]] = {}
    for index, step in enumerate(steps):
        tensors |= {f"{index}.{name}": value for name, value in _tensors(step).items()}
    manifest = {
        "format": 1,
        "guard": "steering",
        "prompt": prompt,
        "generated": generated,
        "steps": [_described(step) for step in steps],
    }
    return manifest, tensors


def _described(step: Step) -> dict[str, Any]:
    own: Mapping[str, dict[str, Any]] = {
        "add": {"keep_norm": step.keep_norm},
        "ablate": {},
        "map": {"input": _input(last=step.last_prompt_token)},
    }
    condition = step.condition
    return {
        "kind": step.kind,
        "layers": list(step.layers),
        "strength": step.strength,
        **own[step.kind],
        "condition": condition
        and {
            "input": _input(last=condition.layer is not None),
            "layer": condition.layer,
            "threshold": condition.threshold,
            "above": condition.above,
        },
    }


def _tensors(step: Step) -> dict[str, NDArray[Any]]:
    if step.kind == "map":
        found = {"read": _stacked(step.reads), "write": _stacked(step.vectors)}
    else:
        vectors = map(unit, step.vectors) if step.kind == "ablate" else step.vectors
        found = {"vector": _stacked(list(vectors))}
    if step.condition is not None:
        found["condition"] = _stacked(step.condition.bases)
    return found


def _input(*, last: bool) -> str:
    return "last_prompt_token" if last else "position"


def _stacked(tensors: Sequence[Tensor]) -> NDArray[Any]:
    return torch.stack(list(tensors)).float().contiguous().numpy()
