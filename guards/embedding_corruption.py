"""Corrupt the embeddings of a prompt's tokens so that the model no longer sees the subject.

Source: Liu et al., "Large Language Model Unlearning via Embedding-Corrupted Prompts" (2024); the
functions are in ``guards.corruption_functions``.  With aliases, what the model writes is corrupted
too wherever it names the subject: ``guards.alias_follower``.
"""

import math
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

from guards.alias_follower import AliasFollower, check_alias_tensors
from guards.case import Case, Edit, Match, Span
from guards.corruption_functions import LARGEST, Corruption, corrupt
from guards.needs import Needs
from guards.points import EngineModel, Follower, OnEmbedding
from models.artifact import Artifact

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from torch import Tensor

__all__ = ["FUNCTIONS", "LARGEST", "NAME", "EmbeddingCorruption", "Function", "manifest"]

NAME = "embedding_corruption"
Function = Literal[
    "rand_noise_first_n",
    "rand_noise_rand_n",
    "rand_noise_top_k",
    "set_rand_noise_first_n",
    "zero_out_first_n",
    "zero_out_top_k",
    "flip_sign_first_n",
    "flip_sign_top_k",
    "sub_value_first_n",
    "sub_value_top_k",
    "add_value_first_n",
    "add_value_least_k",
    "reverse_order",
    "shuffle",
    "rand_noise",
    "zero_out",
    "flip_sign",
]
FUNCTIONS: tuple[str, ...] = get_args(Function)
_SHORT = {
    "rand_noise": "rand_noise_first_n",
    "zero_out": "zero_out_first_n",
    "flip_sign": "flip_sign_first_n",
}

_MOST_STRENGTH = 1e9
_KEYS = {"format", "guard", "function", "dims", "strength", "seed", "tensors"}


@dataclass(frozen=True)
class EmbeddingCorruption(OnEmbedding):
    """Blur what names the subject; all of the client's text where nothing in it is named.

    artifact: digest of a manifest made by ``manifest``; with ``alias_tensors``, sealed.
    """

    NEEDS = Needs(points=frozenset({"embedding"}), changes_prompt_kv=True)

    artifact: str

    def on_prompt(self, case: Case, match: Match) -> Case:
        """Leave an edit over the match's tokens.  It is never empty in a prompt with tokens."""
        return case.edited(Edit(NAME, self.artifact, _positions(case, match)))

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not an embedding corruption of format 1 or 2.

        Format 2 has aliases: their tensors, and a ``blind`` of 64 hexadecimal digits.
        """
        _check_manifest(artifact.manifest)
        if artifact.manifest["format"] == 1:
            if artifact.tensors:
                raise ValueError("format 1 has no tensors")
        else:
            check_alias_tensors(artifact.tensors)

    @staticmethod
    def on_embedding(
        rows: "Tensor", positions: "NDArray[np.int64]", artifact: Artifact, scale: float
    ) -> "Tensor":
        """The rows corrupted in ``dims`` dimensions; the others keep every bit.

        rows: [tokens, hidden].  positions: [tokens].  Computed in float32; finite; the norm of
        what is corrupted is at most ``LARGEST`` in each row.
        """
        value = artifact.manifest
        function = str(value["function"])
        hidden = rows.shape[-1]
        dims = hidden if value["dims"] is None else min(value["dims"], hidden)
        how = Corruption(positions, dims, float(value["strength"]) * scale, int(value["seed"]))
        return corrupt(_SHORT.get(function, function), rows, how)

    @staticmethod
    def follower(artifact: Artifact, model: EngineModel) -> Follower | None:
        """What finds the subject's names in the answer, where the artifact has aliases."""
        if artifact.manifest["format"] == 1:
            return None
        return AliasFollower(artifact.tensors, model.vocabulary)


def manifest(
    function: Function,
    strength: float,
    *,
    dims: int | None = None,
    seed: int = 0,
    persistent: bool = False,
) -> dict[str, Any]:
    """The manifest of one corruption.

    strength: in units of the embedding table's root mean square; zeroing, flipping and reordering
    know no degrees.  dims: how many dimensions; None: all.  persistent: it goes with
    ``alias_tensors`` and must be stored sealed; no two such manifests are equal.
    Raises ValueError for what ``check`` would refuse.
    """
    made: dict[str, Any] = {
        "format": 2 if persistent else 1,
        "guard": NAME,
        "function": function,
        "dims": dims,
        "strength": strength,
        "seed": seed,
    }
    if persistent:
        made["blind"] = secrets.token_hex(32)
    _check_manifest({**made, "tensors": None})
    return made


def _check_manifest(value: Mapping[str, Any]) -> None:
    keys = {1: _KEYS, 2: _KEYS | {"blind"}}
    known = _is_int(value.get("format")) and set(value) == keys.get(value["format"])
    if not known or value["guard"] != NAME:
        raise ValueError("not an embedding corruption of format 1 or 2")
    if value["function"] not in FUNCTIONS:
        raise ValueError("unknown corruption function")
    if value["dims"] is not None and not (_is_int(value["dims"]) and value["dims"] > 0):
        raise ValueError("dims must be null or a positive integer")
    if not (_is_int(value["seed"]) and 0 <= value["seed"] < 2**64):
        raise ValueError("seed must be an unsigned 64-bit integer")
    if not (_is_number(value["strength"]) and 0 < value["strength"] <= _MOST_STRENGTH):
        raise ValueError("strength must be positive and finite")
    if value["format"] == 2 and not _is_blind(value["blind"]):
        raise ValueError("blind must be 64 hexadecimal digits")


def _positions(case: Case, match: Match) -> tuple[Span, ...]:
    prompt = case.prompt
    named = prompt.positions(match.spans)
    # A match that points nowhere must not end in an edit of nothing.
    return named or prompt.positions(prompt.content) or (Span(0, len(prompt.ids)),)


def _is_blind(value: object) -> bool:
    return isinstance(value, str) and len(value) == 64 and set(value) <= set("0123456789abcdef")


def _is_int(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
