"""The rows of a visit to an activation guard: where they stand, what was kept, how they go on."""

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from guards.points import Visit

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor


class NothingRemembered(LookupError):
    """The last prompt token was not seen, so nothing from it on can be decided."""


class Rows:
    """Where the rows of one visit stand in their requests.

    after: [n], how far a row is behind the last token of its prompt: 0 is that token itself,
    more is generated.
    """

    def __init__(self, visit: Visit, device: "torch.device") -> None:
        self._visit, self._device = visit, device
        memories = visit.memories
        lengths = np.fromiter((m.prompt_length for m in memories), np.int64, len(memories))
        self.after = visit.positions - lengths[visit.owners] + 1

    def remember(self, key: int, state: "Tensor", measure: "Callable[[Tensor], Tensor]") -> None:
        """Keep what ``measure`` finds in the rows of last prompt tokens.  state: [n, width]."""
        last = np.flatnonzero(self.after == 0)
        if not len(last):
            return
        values = measure(state[self.tensor(last)]).tolist()
        for owner, value in zip(self._visit.owners[last], values, strict=True):
            self._visit.memories[owner].kept[key] = float(value)

    def remembered(self, key: int) -> "NDArray[np.float64]":
        """[n], what was kept of each row's request; 0 before its last prompt token.

        Raises NothingRemembered where it is not there from that token on.
        """
        values = self.kept(key, np.nan)
        if np.isnan(values[self.after >= 0]).any():
            raise NothingRemembered("the last prompt token was not seen")
        return np.where(self.after >= 0, values, 0.0)

    def kept(self, key: int, default: float) -> "NDArray[np.float64]":
        """[n], what was kept of each row's request, or the default."""
        memories = self._visit.memories
        values = (memory.kept.get(key, default) for memory in memories)
        return np.fromiter(values, np.float64, len(memories))[self._visit.owners]

    def tensor(self, values: "NDArray[Any]") -> "Tensor":
        """On the device of the rows."""
        import torch

        return torch.from_numpy(values).to(self._device)


def within(values: "Tensor", dtype: "torch.dtype") -> "Tensor":
    """The values in that dtype: finite, and no larger than it can hold."""
    import torch

    most = torch.finfo(dtype).max
    # Most of the time there is nothing to mend, which one pass tells; a sum can only be too strict.
    if math.isfinite(float(values.sum())) and most >= torch.finfo(values.dtype).max:
        return values.to(dtype)
    return values.nan_to_num(nan=0.0, posinf=most, neginf=-most).clamp(-most, most).to(dtype)
