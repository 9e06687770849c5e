"""Strict checks that the artifacts of several guards share."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from models.artifact import Artifact

if TYPE_CHECKING:
    from numpy.typing import NDArray

MOST_LAYERS = 4096


def require(holds: object, promise: str) -> None:
    """Raise ValueError where something does not hold."""
    if not holds:
        raise ValueError(promise)


def is_int(value: object, least: int, most: int) -> bool:
    """Whether it is an integer, not a truth value, from ``least`` to ``most``."""
    return isinstance(value, int) and not isinstance(value, bool) and least <= value <= most


def is_number(value: object) -> bool:
    """Whether it is a finite number and not a truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_layers(value: object) -> bool:
    """Whether it is a list of layer numbers, increasing, at least one."""
    if not (isinstance(value, list) and value and all(is_int(i, 0, MOST_LAYERS) for i in value)):
        return False
    return value == sorted(set(value))


def manifest_of(artifact: Artifact, guard: str, keys: set[str]) -> Mapping[str, Any]:
    """The manifest.  Raises ValueError unless it is the guard's, of format 1, with these keys."""
    value = artifact.manifest
    expected = keys | {"format", "guard", "tensors"}
    require(set(value) == expected, f"the manifest of {guard} has other fields")
    require(is_int(value["format"], 1, 1) and value["guard"] == guard, f"not {guard} of format 1")
    return value


def require_tensors(
    artifact: Artifact, shapes: Mapping[str, tuple[int | None, ...]], integers: frozenset[str]
) -> None:
    """Raise ValueError unless there are just these tensors, finite and of these shapes.

    None in a shape: any length, but at least 1.  integers: names of those that are int64; the
    others are float32.
    """
    require(set(artifact.tensors) == set(shapes), "other tensors than the manifest calls for")
    for name, shape in shapes.items():
        _require_tensor(artifact.tensors[name], shape, integer=name in integers)


def _require_tensor(
    tensor: "NDArray[Any]", shape: tuple[int | None, ...], *, integer: bool
) -> None:
    kind = np.dtype(np.int64 if integer else np.float32)
    require(tensor.dtype == kind, "a tensor is of another type")
    lengths = zip(tensor.shape, shape, strict=False)
    fits = len(tensor.shape) == len(shape) and all(
        have >= 1 and want in (None, have) for have, want in lengths
    )
    require(fits, "a tensor is of another shape")
    require(np.isfinite(tensor).all(), "a tensor holds what is not finite")
