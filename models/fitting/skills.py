"""Fit the guards for skills: which neurons carry one, and where its keys lie.

Source: Li et al., "Effective Skill Unlearning through Intervention and Abstention" (2025).  Keys
are what an MLP's ``down_proj`` is given; the paper's Neuron Adjust looks before the gate's product.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from models.fitting.activations import Place, captured

Artifact = tuple[dict[str, Any], dict[str, NDArray[Any]]]
"""A manifest and its tensors, as ``ArtifactStore.put`` takes them."""

LEAST_STD = 1e-6  # a neuron that never moved has no deviation, and one divides by it


class Moments:
    """Mean and standard deviation of rows that come in pieces; [width] each, in float64.

    Sums of squares about a running mean (Chan et al., 1979), so that they do not cancel.
    """

    def __init__(self) -> None:
        self.count = 0
        self.mean = torch.zeros(0, dtype=torch.float64)
        self._squares = torch.zeros(0, dtype=torch.float64)

    def add(self, rows: Tensor) -> None:
        """rows: [n, width]."""
        wide, count = rows.double(), len(rows)
        if not count:
            return
        if not self.count:
            self.mean = torch.zeros(wide.shape[1], dtype=torch.float64)
            self._squares = self.mean.clone()
        mean = wide.mean(0)
        apart, total = mean - self.mean, self.count + count
        self._squares += (wide - mean).square().sum(0) + apart.square() * (
            self.count * count / total
        )
        self.mean = self.mean + apart * (count / total)
        self.count = total

    @property
    def std(self) -> Tensor:
        """Of the rows as they are (divided by n), at least ``LEAST_STD``."""
        if not self.count:
            raise ValueError("there were no rows")
        return (self._squares / self.count).sqrt().clamp(min=LEAST_STD)


def moments(
    model: Any, prompts: Sequence[Sequence[int]], layers: Sequence[int], batch_size: int = 16
) -> dict[int, Moments]:
    """Of the keys of each layer, over all tokens of the prompts."""
    places: list[Place] = [("mlp", layer) for layer in layers]
    found = {layer: Moments() for layer in layers}
    for part in captured(model, prompts, places, which="all", batch_size=batch_size):
        for (_, layer), rows in part.items():
            found[layer].add(rows)
    return found


# --- Neuron Adjust -------------------------------------------------------------------------------


def chosen_neurons(
    forget: Mapping[int, Moments], retain: Mapping[int, Moments], percent: float
) -> dict[int, Tensor]:
    """By layer, the neurons whose mean rises most: the top ``percent`` of all layers' together.

    Signed, as published: a neuron that falls is not chosen.  Layers without one are left out.
    Raises ValueError where the percentage chooses none.
    """
    rises = {layer: forget[layer].mean - retain[layer].mean for layer in forget}
    everywhere = torch.cat(list(rises.values()))
    count = int(len(everywhere) * percent / 100)
    if not 0 < count <= len(everywhere):
        raise ValueError("the percentage must choose at least one neuron, and at most all")
    top = torch.zeros(len(everywhere), dtype=torch.bool)
    top[everywhere.topk(count).indices] = True
    parts = torch.split(top, [len(rise) for rise in rises.values()])
    return {
        layer: part.nonzero()[:, 0] for layer, part in zip(rises, parts, strict=True) if part.any()
    }


def neuron_adjust(
    forget: Mapping[int, Moments],
    retain: Mapping[int, Moments],
    percent: float,
    *,
    seed: int = 0,
    compat_std: bool = False,
) -> Artifact:
    """The artifact.  compat_std: as released, with the mean for the forget set's deviation."""
    chosen = chosen_neurons(forget, retain, percent)
    tensors: dict[str, NDArray[Any]] = {}
    for layer, neurons in chosen.items():
        tensors[f"{layer}.neurons"] = neurons.numpy()
        for name, of in (("forget", forget[layer]), ("retain", retain[layer])):
            tensors[f"{layer}.{name}_mean"] = _stored(of.mean[neurons])
            tensors[f"{layer}.{name}_std"] = _stored(of.std[neurons])
    manifest = {
        "format": 1,
        "guard": "neuron_adjust",
        "layers": sorted(chosen),
        "seed": seed,
        "compat_std": compat_std,
    }
    return manifest, tensors


# --- Key Space Detection -------------------------------------------------------------------------


class Box(NamedTuple):
    """The keys of a skill: ``mean`` and ``std`` [width]; ``k``: the least box with all of them."""

    mean: Tensor
    std: Tensor
    k: float


def box(keys: Tensor) -> Box:
    """The box of these keys, [n, width].

    The paper bisects for the least k with all keys within mean -+ k std; that is the largest
    deviation of any key in any dimension.
    """
    known = Moments()
    known.add(keys)
    return Box(known.mean, known.std, float(deviations(keys, known.mean, known.std).max()))


def deviations(keys: Tensor, mean: Tensor, std: Tensor) -> Tensor:
    """[n], how many deviations each key is away from the mean, in its farthest dimension."""
    return ((keys.double() - mean).abs() / std).amax(1)


def key_space_detection(
    layers: Sequence[int], found: Box, h: float, neutral: Sequence[Tensor]
) -> Artifact:
    """The artifact.  layers: increasing; the first is the box's.  neutral: [width] for each."""
    manifest = {
        "format": 1,
        "guard": "key_space_detection",
        "layers": list(layers),
        "k": found.k,
        "h": h,
    }
    tensors = {
        "mean": _stored(found.mean),
        "std": _stored(found.std),
        "neutral": np.stack([_stored(each) for each in neutral]),
    }
    return manifest, tensors


def _stored(values: Tensor) -> NDArray[Any]:
    return values.float().contiguous().numpy()
