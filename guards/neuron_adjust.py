"""Adjust the neurons of one skill: values that are typical of it become typical of the rest.

Source: Li et al., "Effective Skill Unlearning through Intervention and Abstention" (2025), Neuron
Adjust.  The standard deviation of the forget set is the real one; the released code puts the mean
in its place, which ``compat_std`` repeats.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.activation_rows import Rows, within
from guards.case import Case, Edit, Match, Span
from guards.needs import Needs
from guards.points import ActivationEdit, EngineModel, OnActivations, Site, Visit
from guards.tensor_checks import is_int, is_layers, manifest_of, require, require_tensors
from models.artifact import Artifact

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

NAME = "neuron_adjust"
_STATISTICS = ("forget_mean", "forget_std", "retain_mean", "retain_std")
_LOW = np.uint64(0xFFFFFFFF)
_HALF = np.uint64(32)


@dataclass(frozen=True)
class NeuronAdjust(OnActivations):
    """Hide a skill in every position of a request that was found to ask for it.

    artifact: digest of a manifest as ``check`` describes it.
    Neurons are numbered through the whole of an MLP, so it acts on a single tensor-parallel rank.
    """

    NEEDS = Needs(points=frozenset({"mlp"}), tensor_parallel=False, changes_prompt_kv=True)

    artifact: str

    def on_prompt(self, case: Case, match: Match) -> Case:
        """Leave an edit over the whole prompt: a skill is not in a few of its tokens."""
        del match
        return case.edited(Edit(NAME, self.artifact, (Span(0, len(case.prompt.ids)),)))

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not a neuron adjustment of format 1.

        Manifest: ``layers``, ``seed`` (unsigned, 64 bits), ``compat_std``.  Tensors of each layer:
        ``l.neurons``, int64 [chosen], increasing; ``l.forget_mean``, ``l.forget_std``,
        ``l.retain_mean``, ``l.retain_std``, float32 [chosen], deviations above 0.
        """
        value = manifest_of(artifact, NAME, {"layers", "seed", "compat_std"})
        require(is_layers(value["layers"]), "layers must be numbers, increasing")
        require(is_int(value["seed"], 0, 2**64 - 1), "seed must be an unsigned 64-bit integer")
        require(isinstance(value["compat_std"], bool), "compat_std is true or false")
        names = [f"{layer}.neurons" for layer in value["layers"]]
        shapes: dict[str, tuple[int | None, ...]] = {}
        for layer, name in zip(value["layers"], names, strict=True):
            require(name in artifact.tensors, "a layer has no neurons")
            chosen = artifact.tensors[name].size
            shapes[name] = (chosen,)
            shapes |= {f"{layer}.{kind}": (chosen,) for kind in _STATISTICS}
        require_tensors(artifact, shapes, frozenset(names))
        for layer, name in zip(value["layers"], names, strict=True):
            neurons = artifact.tensors[name]
            require(neurons[0] >= 0 and (np.diff(neurons) > 0).all(), "neurons must increase")
            for kind in ("forget_std", "retain_std"):
                require((artifact.tensors[f"{layer}.{kind}"] > 0).all(), "a deviation must be > 0")

    @staticmethod
    def bind(artifact: Artifact, model: EngineModel) -> ActivationEdit:
        """Ready to act.  Raises ValueError where the model lacks a layer."""
        return _Bound(artifact, model)


def uniform(seed: int, positions: "NDArray[np.int64]", layer: int) -> "NDArray[np.float64]":
    """One number in [0, 1) for each position: a pure function of seed, position and layer.

    Philox4x32-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011) with the
    seed as key and (position, layer) as counter; 53 bits of the first two words.
    """
    at = positions.astype(np.uint64)
    counter = [at & _LOW, at >> _HALF, np.full_like(at, layer), np.zeros_like(at)]
    high, low, _, _ = philox(counter, (seed & 0xFFFFFFFF, seed >> 32))
    drawn = ((high << _HALF) | low) >> np.uint64(11)
    return drawn.astype(np.float64) * 2.0**-53


def philox(counter: "list[NDArray[np.uint64]]", key: tuple[int, int]) -> "list[NDArray[np.uint64]]":
    """Ten rounds of Philox4x32.  counter: four words of 32 bits, each an array; likewise out."""
    a, b, c, d = counter
    first, second = key
    for _ in range(10):
        one, two = a * np.uint64(0xD2511F53), c * np.uint64(0xCD9E8D57)
        a, b, c, d = (
            (two >> _HALF) ^ b ^ np.uint64(first),
            two & _LOW,
            (one >> _HALF) ^ d ^ np.uint64(second),
            one & _LOW,
        )
        first, second = (first + 0x9E3779B9) % 2**32, (second + 0xBB67AE85) % 2**32
    return [a, b, c, d]


class _Neurons:
    """The chosen neurons of one layer."""

    def __init__(
        self, tensors: Mapping[str, "NDArray[Any]"], device: "torch.device", *, compat_std: bool
    ) -> None:
        """tensors: what belongs to the layer, by the rest of its names."""
        import torch

        def tensor(name: str) -> "Tensor":
            return torch.tensor(tensors[name], device=device)

        self._neurons = tensor("neurons")
        self._mean, self._other_mean = tensor("forget_mean"), tensor("retain_mean")
        self._std = self._mean if compat_std else tensor("forget_std")
        self._other_std = tensor("retain_std")

    def adjusted(self, rows: "Tensor", drawn: "Tensor") -> "Tensor":
        """rows: [n, intermediate].  drawn: [n, 1], in [0, 1)."""
        values = rows[:, self._neurons].float()
        away = (values - self._mean) / self._std
        away_other = (values - self._other_mean) / self._other_std
        # The logarithm of pf / pr.  A deviation that is not above 0 (compat_std: the mean) makes
        # it NaN or infinite, and then there is no density to compare: nothing is changed.
        odds = (away_other.square() - away.square()) / 2 + (self._other_std / self._std).log()
        chosen = odds.isfinite() & (odds >= 0) & (drawn >= (-odds).sigmoid())
        mirrored = self._other_mean - self._other_std * away
        result = rows.clone()
        result[:, self._neurons] = within(mirrored.where(chosen, values), rows.dtype)
        return result


class _Bound:
    generated = True

    def __init__(self, artifact: Artifact, model: EngineModel) -> None:
        value = artifact.manifest
        require(max(value["layers"]) < model.layers, "the model does not have that many layers")
        self._seed: int = value["seed"]
        self._at = {
            layer: _Neurons(
                _of_layer(artifact, layer), model.device, compat_std=value["compat_std"]
            )
            for layer in value["layers"]
        }
        self.sites = frozenset(Site("mlp", layer) for layer in self._at)

    def apply(self, rows: "Tensor", visit: Visit) -> "Tensor":
        """All but the chosen neurons keep every bit."""
        drawn = uniform(self._seed, visit.positions, visit.site.layer).astype(np.float32)
        where = Rows(visit, rows.device)
        return self._at[visit.site.layer].adjusted(rows, where.tensor(drawn)[:, None])


def _of_layer(artifact: Artifact, layer: int) -> dict[str, "NDArray[Any]"]:
    return {kind: artifact.tensors[f"{layer}.{kind}"] for kind in ("neurons", *_STATISTICS)}
