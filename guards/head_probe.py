"""Block what a probe on the output head has learnt to bring forward.

Source: RoAdBlock (2026): a RoAd rotation of the output logits, fitted to the forget set, shows
which tokens knowing it would raise; those are pushed down.  One pass of the model, no history.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from guards.case import Case, Edit, Match
from guards.logit_difference import pins, with_pinned
from guards.needs import Needs
from guards.points import EngineModel, History, OnLogits
from guards.tensor_checks import is_int, is_number, manifest_of, require, require_tensors
from models.artifact import Artifact

if TYPE_CHECKING:
    from torch import Tensor

NAME = "head_probe"
_KEYS = {"vocabulary", "size", "strength", "blind"}
_MOST_STRENGTH = 1e4
_MOST_TOKENS = 1 << 24


@dataclass(frozen=True)
class HeadProbe(OnLogits):
    """Push down the tokens that the probe would raise.

    artifact: digest of an artifact made by ``models.fitting.head_probe``.
    """

    NEEDS = Needs(points=frozenset({"logits"}))

    artifact: str

    def on_prompt(self, case: Case, match: Match) -> Case:
        """Leave an edit that names no position: it is about whatever will be generated."""
        del match
        return case.edited(Edit(NAME, self.artifact, ()))

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not a head probe of format 1."""
        value = manifest_of(artifact, NAME, _KEYS)
        require(isinstance(value["vocabulary"], str), "vocabulary must be a digest")
        require(isinstance(value["blind"], str), "blind must be text")
        require(is_int(value["size"], 1, _MOST_TOKENS), "size must be a positive integer")
        strength = value["strength"]
        require(is_number(strength) and 0 < strength <= _MOST_STRENGTH, "strength out of range")
        pairs = (-(-value["size"] // 2),)
        require_tensors(artifact, {"angle": pairs, "magnitude": pairs}, frozenset())

    @staticmethod
    def bind(artifact: Artifact, model: EngineModel) -> "BoundProbe":
        """Put the rotations on the model's device.

        Raises ValueError where the artifact is not for this vocabulary.
        """
        value = artifact.manifest
        if value["vocabulary"] != model.vocabulary.digest:
            raise ValueError("made for another vocabulary")
        if value["size"] > model.vocabulary.size:
            raise ValueError("larger than the output layer")
        return BoundProbe(artifact, model)


class BoundProbe:
    """A head probe in one engine.  It keeps nothing of any request."""

    def __init__(self, artifact: Artifact, model: EngineModel) -> None:
        import torch

        angle = torch.tensor(artifact.tensors["angle"], device=model.device)
        magnitude = torch.tensor(artifact.tensors["magnitude"], device=model.device)
        self._straight, self._crossed = magnitude * angle.cos(), magnitude * angle.sin()
        self._size: int = artifact.manifest["size"]
        self._strength = float(artifact.manifest["strength"])
        self._pins = pins(model)

    def apply(self, logits: "Tensor", histories: Sequence[History]) -> None:
        """See ``LogitsEdit``: ``z = z0 - c * [R z0 - z0]_+``, control tokens pinned."""
        del histories
        # What is ruled out counts for nothing in its pair: minus infinity cannot be rotated.
        known = logits[:, : self._size]
        known = known.masked_fill(known.isneginf(), 0.0)
        rise = (rotated(known, self._straight, self._crossed) - known).clamp(min=0.0)
        changed = logits.clone()
        changed[:, : self._size] -= self._strength * rise
        logits.copy_(with_pinned(logits, changed, self._pins.to(logits.device)))

    def forget(self, key: str) -> None:
        """There is nothing to drop."""
        del key


def rotated(rows: "Tensor", straight: "Tensor", crossed: "Tensor") -> "Tensor":
    """RoAd: each pair of neighbours turned by an angle and stretched by a magnitude.

    rows: [n, size].  straight, crossed: [ceil(size / 2)], magnitude times cosine and sine.  Where
    size is odd the last is turned against a zero: it is stretched by ``straight`` alone.
    """
    import torch

    size = rows.shape[-1]
    pairs = torch.nn.functional.pad(rows, (0, size % 2))
    one, other = pairs[:, 0::2], pairs[:, 1::2]
    turned = torch.stack(
        [straight * one - crossed * other, crossed * one + straight * other], dim=-1
    )
    return turned.flatten(-2)[..., :size]
