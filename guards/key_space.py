"""Notice that a skill is being used, by where its keys lie, and answer like a model without it.

Source: Li et al., "Effective Skill Unlearning through Intervention and Abstention" (2025), Key
Space Detection.  There the whole answer is replaced afterwards by a fixed sentence; here the key
itself is replaced, from the position that was noticed on, so that the answer can be streamed and
no sentence tells that something was noticed.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from guards.activation_rows import Rows, within
from guards.case import Case, Edit, Match, Span
from guards.needs import Needs
from guards.points import ActivationEdit, EngineModel, OnActivations, Site, Visit
from guards.tensor_checks import is_layers, is_number, manifest_of, require, require_tensors
from models.artifact import Artifact

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

NAME = "key_space_detection"
_LARGEST = 1e9
_SEEN, _FIRED = 0, 1  # what is kept: whether the last prompt token was looked at; where it fired


@dataclass(frozen=True)
class KeySpaceDetection(OnActivations):
    """Look at the last token of the prompt and at what is generated; abstain from where it fires.

    artifact: digest of a manifest as ``check`` describes it.
    It needs whole keys, so it acts on a single tensor-parallel rank.  What it noticed stays in its
    pipeline stage: all of its layers must lie in one, or the later ones refuse.
    """

    NEEDS = Needs(points=frozenset({"mlp"}), tensor_parallel=False, changes_prompt_kv=True)

    artifact: str

    def on_prompt(self, case: Case, match: Match) -> Case:
        """Leave an edit on the last token of the prompt, where the answer begins."""
        del match
        end = len(case.prompt.ids)
        return case.edited(Edit(NAME, self.artifact, (Span(end - 1, end),)))

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not a key space detection of format 1.

        Manifest: ``layers``: where keys are replaced, increasing; at the first one it is noticed.
        ``k``, ``h``: a key is noticed where no dimension is more than k * h deviations from the
        mean.  Tensors, float32: ``mean``, ``std`` [intermediate], std above 0; ``neutral``
        [layers, intermediate], what the keys are replaced by.
        """
        value = manifest_of(artifact, NAME, {"layers", "k", "h"})
        require(is_layers(value["layers"]), "layers must be numbers, increasing")
        for name in ("k", "h"):
            require(
                is_number(value[name]) and 0 < value[name] <= _LARGEST,
                "k and h must be positive and finite",
            )
        require("mean" in artifact.tensors, "other tensors than the manifest calls for")
        width = artifact.tensors["mean"].size
        shapes: dict[str, tuple[int | None, ...]] = {
            "mean": (width,),
            "std": (width,),
            "neutral": (len(value["layers"]), width),
        }
        require_tensors(artifact, shapes, frozenset())
        require((artifact.tensors["std"] > 0).all(), "a deviation must be above 0")

    @staticmethod
    def bind(artifact: Artifact, model: EngineModel) -> ActivationEdit:
        """Ready to act.  Raises ValueError where the model lacks a layer."""
        return _Bound(artifact, model)


class _Bound:
    generated = True

    def __init__(self, artifact: Artifact, model: EngineModel) -> None:
        import torch

        layers = artifact.manifest["layers"]
        require(max(layers) < model.layers, "the model does not have that many layers")
        tensors = {
            name: torch.tensor(tensor, device=model.device)
            for name, tensor in artifact.tensors.items()
        }
        self._mean, self._std = tensors["mean"], tensors["std"]
        self._bound = float(artifact.manifest["k"]) * float(artifact.manifest["h"])
        self._first: int = layers[0]
        self._neutral = dict(zip(layers, within(tensors["neutral"], model.dtype), strict=True))
        self.sites = frozenset(Site("mlp", layer) for layer in layers)

    def apply(self, rows: "Tensor", visit: Visit) -> "Tensor":
        """Keys from where it fired on are neutral; the others keep every bit.

        Raises NothingRemembered where the last prompt token was not looked at.
        """
        where = Rows(visit, rows.device)
        if visit.site.layer == self._first:
            self._look(rows, visit, where)
        where.remembered(_SEEN)
        # Never before the prompt's last token, so this is false for what comes before it.
        gone = visit.positions >= where.kept(_FIRED, np.inf)
        if not gone.any():
            return rows
        neutral = self._neutral[visit.site.layer].to(rows.dtype)
        result: Tensor = neutral.where(where.tensor(gone)[:, None], rows)
        return result

    def _look(self, rows: "Tensor", visit: Visit, where: Rows) -> None:
        where.remember(_SEEN, rows, lambda last: last.new_ones(len(last)))
        for row in np.flatnonzero(self._inside(rows) & (where.after >= 0)):
            kept, position = visit.memories[visit.owners[row]].kept, float(visit.positions[row])
            # The earliest one stands: a later visit of others neither moves nor undoes it.
            kept[_FIRED] = min(kept.get(_FIRED, position), position)

    def _inside(self, rows: "Tensor") -> "NDArray[np.bool_]":
        """[n], whether a key lies in the box of the skill's keys."""
        farthest = ((rows.float() - self._mean).abs() / self._std).amax(-1)
        inside: NDArray[np.bool_] = (farthest <= self._bound).cpu().numpy()
        return inside
