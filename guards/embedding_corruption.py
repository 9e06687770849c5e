"""Corrupt the embeddings of a prompt's tokens so that the model no longer sees the subject.

Source: Liu et al., "Large Language Model Unlearning via Embedding-Corrupted Prompts" (2024).
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from guards.case import Case, Edit, Match, Span
from guards.needs import Needs
from guards.points import OnEmbedding
from models.artifact import Artifact

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

NAME = "embedding_corruption"
Function = Literal["rand_noise", "zero_out", "flip_sign"]

# Half of float16's range: finite in every dtype, and sums of squares stay finite in float32.
LARGEST = 32_768.0
_MOST_STRENGTH = 1e9
_KEYS = {"format", "guard", "function", "dims", "strength", "seed", "tensors"}


@dataclass(frozen=True)
class EmbeddingCorruption(OnEmbedding):
    """Blur what names the subject; all of the client's text where nothing in it is named.

    artifact: digest of a manifest made by ``manifest``.
    """

    NEEDS = Needs(points=frozenset({"embedding"}), changes_prompt_kv=True)

    artifact: str

    def on_prompt(self, case: Case, match: Match) -> Case:
        """Leave an edit over the match's tokens.  It is never empty in a prompt with tokens."""
        return case.edited(Edit(NAME, self.artifact, _positions(case, match)))

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not an embedding corruption of format 1."""
        value = artifact.manifest
        if set(value) != _KEYS or value["format"] != 1 or value["guard"] != NAME:
            raise ValueError("not an embedding corruption of format 1")
        if value["function"] not in FUNCTIONS:
            raise ValueError("unknown corruption function")
        if value["dims"] is not None and not (_is_int(value["dims"]) and value["dims"] > 0):
            raise ValueError("dims must be null or a positive integer")
        if not (_is_int(value["seed"]) and 0 <= value["seed"] < 2**64):
            raise ValueError("seed must be an unsigned 64-bit integer")
        strength = value["strength"]
        if not (_is_number(strength) and 0 < strength <= _MOST_STRENGTH):
            raise ValueError("strength must be positive and finite")

    @staticmethod
    def on_embedding(
        rows: "Tensor", positions: "NDArray[np.int64]", artifact: Artifact, scale: float
    ) -> "Tensor":
        """The rows corrupted in their first ``dims`` dimensions; the others keep every bit.

        rows: [tokens, hidden].  positions: [tokens].  Computed in float32; finite, at most
        ``LARGEST`` in any corrupted dimension.
        """
        value = artifact.manifest
        dims = rows.shape[-1] if value["dims"] is None else min(value["dims"], rows.shape[-1])
        how = Corruption(positions, float(value["strength"]), int(value["seed"]), float(scale))
        block = _FUNCTIONS[value["function"]](rows[:, :dims].float(), how)
        result = rows.clone()
        result[:, :dims] = block.nan_to_num(nan=0.0).clamp(-LARGEST, LARGEST).to(rows.dtype)
        return result


def manifest(
    function: Function, strength: float, *, dims: int | None = None, seed: int = 0
) -> dict[str, Any]:
    """The artifact of one corruption.

    strength: in units of the embedding table's root mean square; ``zero_out`` and ``flip_sign``
    know no degrees.  dims: how many of the first dimensions; None: all.
    Raises ValueError for what ``check`` would refuse.
    """
    made = {
        "format": 1,
        "guard": NAME,
        "function": function,
        "dims": dims,
        "strength": strength,
        "seed": seed,
    }
    EmbeddingCorruption.check(Artifact("", {**made, "tensors": None}, {}))
    return made


class Corruption(NamedTuple):
    """What a corruption function may depend on besides the rows."""

    positions: "NDArray[np.int64]"
    strength: float
    seed: int
    scale: float


def _rand_noise(block: "Tensor", how: Corruption) -> "Tensor":
    drawn = np.empty(tuple(block.shape), dtype=np.float32)
    for row, position in enumerate(how.positions):
        # A counter-based generator keyed by position: a row gets the same noise in any chunk.
        key = np.array([how.seed, int(position)], dtype=np.uint64)
        np.random.Generator(np.random.Philox(key=key)).standard_normal(
            dtype=np.float32, out=drawn[row]
        )
    return block + block.new_tensor(drawn) * (how.strength * how.scale)


def _zero_out(block: "Tensor", how: Corruption) -> "Tensor":
    del how
    return block * 0.0


def _flip_sign(block: "Tensor", how: Corruption) -> "Tensor":
    del how
    return -block


_FUNCTIONS: Mapping[str, "Callable[[Tensor, Corruption], Tensor]"] = {
    "rand_noise": _rand_noise,
    "zero_out": _zero_out,
    "flip_sign": _flip_sign,
}
FUNCTIONS: tuple[str, ...] = get_args(Function)


def _positions(case: Case, match: Match) -> tuple[Span, ...]:
    prompt = case.prompt
    named = prompt.positions(match.spans)
    # A match that points nowhere must not end in an edit of nothing.
    return named or prompt.positions(prompt.content) or (Span(0, len(prompt.ids)),)


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
