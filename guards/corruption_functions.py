"""The fourteen ways to corrupt an embedding: which dimensions, and what becomes of them.

Source: Liu et al., "Large Language Model Unlearning via Embedding-Corrupted Prompts" (2024), and
the functions that its published code knows by these names.  Four things differ, on purpose:

- Noise, random dimensions and permutations are drawn anew for each position but never for each
  pass: they are a function of seed and absolute position.
- ``set_rand_noise_first_n`` leaves the rows of other tokens alone (as published, it zeroes them).
- ``reverse_order`` and ``shuffle`` act on the dimensions of one row.  As published they permute
  the tokens of the whole prompt, asked for or not: that is not a function of one row, and cannot
  be had where a prompt is read in pieces.
- Strengths are in units of the embedding table's root mean square, which carries them over from
  one model to another.
"""

import math
from collections.abc import Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

# Half of float16's range: finite in every dtype, and sums of squares stay finite in float32.
LARGEST = 32_768.0
_KEPT_ROWS = 1024  # drawn rows; 32 MiB where there are 8,192 dimensions


class Corruption(NamedTuple):
    """What a corruption may depend on besides the rows.

    positions: [tokens].  dims: how many dimensions of each row change, at most as many as it has.
    size: the strength, in the unit of the rows.
    """

    positions: "NDArray[np.int64]"
    dims: int
    size: float
    seed: int


Select = Callable[["Tensor", Corruption], "Tensor"]
Change = Callable[["Tensor", Corruption], "Tensor"]


class Function(NamedTuple):
    """select: the mask of the dimensions to change; None: the first ``dims``.

    change: what all of the rows shown would become.  Both are shown float32 rows, finite.
    """

    select: Select | None
    change: Change


def corrupt(function: str, rows: "Tensor", how: Corruption) -> "Tensor":
    """The rows, [tokens, hidden], with ``how.dims`` dimensions of each changed.

    Computed in float32, returned in the rows' dtype.  What is changed has a norm of at most
    ``LARGEST`` in each row (but for rounding); what is not keeps every bit, where it is finite.
    """
    select, change = FUNCTIONS[function]
    block = rows if select else rows[:, : how.dims]
    finite = block.float().nan_to_num(nan=0.0, posinf=LARGEST, neginf=-LARGEST)
    # A bound for each number keeps the norm without a sum, whose order could depend on the batch.
    most = LARGEST / math.sqrt(how.dims)
    changed = change(finite, how).clamp(-most, most).to(rows.dtype)
    result = rows.nan_to_num(nan=0.0, posinf=LARGEST, neginf=-LARGEST)
    if select:
        return changed.where(select(finite, how), result)
    result[:, : how.dims] = changed
    return result


# --- which dimensions ----------------------------------------------------------------------------


def _random(rows: "Tensor", how: Corruption) -> "Tensor":
    return _ordered(rows, how, _permutations(rows, how))


def _greatest_magnitude(rows: "Tensor", how: Corruption) -> "Tensor":
    return _ordered(rows, how, rows.abs().argsort(dim=1, descending=True, stable=True))


def _greatest(rows: "Tensor", how: Corruption) -> "Tensor":
    return _ordered(rows, how, rows.argsort(dim=1, descending=True, stable=True))


def _least(rows: "Tensor", how: Corruption) -> "Tensor":
    return _ordered(rows, how, rows.argsort(dim=1, stable=True))


def _ordered(rows: "Tensor", how: Corruption, order: "Tensor") -> "Tensor":
    """A mask of the first ``how.dims`` in an order of the dimensions.

    Orders are stable, as ties are common in bfloat16: the earlier dimension goes first.
    """
    return rows.new_zeros(rows.shape).scatter_(1, order[:, : how.dims], 1.0).bool()


# --- what becomes of them ------------------------------------------------------------------------


def _add_noise(rows: "Tensor", how: Corruption) -> "Tensor":
    return rows + _set_noise(rows, how)


def _set_noise(rows: "Tensor", how: Corruption) -> "Tensor":
    return _drawn(_normals, rows, how).to(rows.dtype) * how.size


def _zero(rows: "Tensor", how: Corruption) -> "Tensor":
    del how
    return rows.new_zeros(rows.shape)


def _flip(rows: "Tensor", how: Corruption) -> "Tensor":
    del how
    return -rows


def _subtract(rows: "Tensor", how: Corruption) -> "Tensor":
    return rows - how.size


def _add(rows: "Tensor", how: Corruption) -> "Tensor":
    return rows + how.size


def _reverse(rows: "Tensor", how: Corruption) -> "Tensor":
    del how
    return rows.flip(1)


def _shuffle(rows: "Tensor", how: Corruption) -> "Tensor":
    return rows.gather(1, _permutations(rows, how))


# --- chance --------------------------------------------------------------------------------------


@lru_cache(maxsize=_KEPT_ROWS)
def _normals(seed: int, position: int, count: int) -> "NDArray[np.float32]":
    return _generator(seed, position, 0).standard_normal(count, dtype=np.float32)


@lru_cache(maxsize=_KEPT_ROWS)
def _permutation(seed: int, position: int, count: int) -> "NDArray[np.int64]":
    return _generator(seed, position, 1).permutation(count)


def _generator(seed: int, position: int, stream: int) -> np.random.Generator:
    # A counter-based generator keyed by position: a row gets the same numbers in any chunk.
    key = np.array([seed, position], dtype=np.uint64)
    counter = np.array([0, 0, 0, stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def _permutations(rows: "Tensor", how: Corruption) -> "Tensor":
    """[tokens, width]: for each row an order of its dimensions."""
    return _drawn(_permutation, rows, how).long()


def _drawn(
    draw: "Callable[[int, int, int], NDArray[Any]]", rows: "Tensor", how: Corruption
) -> "Tensor":
    """What is drawn for each row's position, as a tensor of the rows' shape, on their device."""
    import torch

    found = [draw(how.seed, position, rows.shape[1]) for position in how.positions.tolist()]
    drawn = np.stack(found) if found else np.empty(rows.shape)
    return torch.from_numpy(drawn).to(rows.device)


FUNCTIONS: dict[str, Function] = {
    "rand_noise_first_n": Function(None, _add_noise),
    "rand_noise_rand_n": Function(_random, _add_noise),
    "rand_noise_top_k": Function(_greatest_magnitude, _add_noise),
    "set_rand_noise_first_n": Function(None, _set_noise),
    "zero_out_first_n": Function(None, _zero),
    "zero_out_top_k": Function(_greatest_magnitude, _zero),
    "flip_sign_first_n": Function(None, _flip),
    "flip_sign_top_k": Function(_greatest_magnitude, _flip),
    "sub_value_first_n": Function(None, _subtract),
    "sub_value_top_k": Function(_greatest, _subtract),
    "add_value_first_n": Function(None, _add),
    "add_value_least_k": Function(_least, _add),
    "reverse_order": Function(None, _reverse),
    "shuffle": Function(None, _shuffle),
}
