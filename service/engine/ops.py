"""The one operator that our layers put into the model's graph, and what it reaches.

``lethe::corrupt(Tensor(a!) hidden, int site)`` changes ``hidden`` in place.  torch.compile sees an
opaque call that mutates its argument, so it can neither fold nor reorder it; what the call does is
decided at run time, step by step, by whoever holds the switchboard.
"""

from collections import Counter
from typing import Protocol

import torch
from torch import Tensor

NAME = "lethe::corrupt"
EMBEDDING = 0  # site numbers: where in the model a call stands

_libraries: list[torch.library.Library] = []  # an operator lives as long as its library object


class Step(Protocol):
    """What shall happen to the rows of one forward pass."""

    def apply(self, hidden: Tensor, site: int) -> None:
        """Change ``hidden``, [rows, hidden], in place.  Never raises."""


class Switchboard:
    """Connects the operator with the step under way in this process.

    calls: how often the operator ran, for each site: the proof that it is in the graph.
    """

    def __init__(self) -> None:
        self.calls: Counter[int] = Counter()
        self._step: Step | None = None

    def connect(self, step: Step) -> None:
        """From now on calls act as ``step`` says."""
        self._step = step

    def disconnect(self) -> None:
        """From now on calls change nothing: vLLM runs its own warm-up batches."""
        self._step = None

    def corrupt(self, hidden: Tensor, site: int) -> None:
        """The operator's implementation."""
        self.calls[site] += 1
        if self._step is not None:
            self._step.apply(hidden, site)


SWITCHBOARD = Switchboard()


def define() -> None:
    """Register the operator with torch.  A second call does nothing."""
    if _libraries:
        return
    library = torch.library.Library("lethe", "FRAGMENT")  # type: ignore[no-untyped-call]
    library.define("corrupt(Tensor(a!) hidden, int site) -> ()")  # type: ignore[no-untyped-call]
    library.impl("corrupt", _corrupt, "CompositeExplicitAutograd")  # type: ignore[no-untyped-call]
    torch.library.register_fake(NAME, _fake, lib=library)
    _libraries.append(library)


def _corrupt(hidden: Tensor, site: int) -> None:
    SWITCHBOARD.corrupt(hidden, site)


def _fake(hidden: Tensor, site: int) -> None:
    del hidden, site
