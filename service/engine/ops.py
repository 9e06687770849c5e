"""The operators that our layers put into the model's graph, and what they reach.

``lethe::corrupt`` stands before the first layer, ``lethe::steer`` after each, ``lethe::adjust``
before each ``down_proj``.  All change their first argument in place.  torch.compile sees an opaque
call that mutates it, so it can neither fold nor reorder it; what the call does is decided at run
time, step by step, by whoever holds the switchboard.
"""

from collections import Counter
from typing import Any, Protocol

import torch
from torch import Tensor

from guards.points import Site

NAMES = ("lethe::corrupt", "lethe::steer", "lethe::adjust")
EMBEDDING = "embedding"  # how the first operator is counted; the others by kind and layer

_libraries: list[torch.library.Library] = []  # an operator lives as long as its library object


class Step(Protocol):
    """What shall happen to the rows of one forward pass."""

    def embed(self, hidden: Tensor) -> None:
        """Change what enters the first layer, [rows, hidden], in place.  Never raises."""

    def act(self, hidden: Tensor, residual: Tensor | None, site: Site) -> None:
        """Change what passes a site, [rows, width], in place.  Never raises.

        residual: of equal shape where the stream is the sum of both; ``hidden`` is what changes.
        """


class Sampling(Protocol):
    """What shall happen to the next tokens' logits."""

    def edit(self, logits: Tensor, context: Any) -> None:
        """Change [rows, vocabulary] in place.  context: V2's; None under V1.  Never raises."""

    def concerns(self, extra_args: object) -> bool:
        """Whether the request with these extra arguments has logits edits."""


class Switchboard:
    """Connects the operators with the step under way in this process.

    calls: how often each operator ran, by site: the proof that it is in the graph.
    sampling: what acts on logits; the step does not matter there.
    """

    def __init__(self) -> None:
        self.calls: Counter[str] = Counter()
        self.sampling: Sampling | None = None
        self._step: Step | None = None

    def connect(self, step: Step) -> None:
        """From now on calls act as ``step`` says."""
        self._step = step

    def disconnect(self) -> None:
        """From now on calls change nothing: vLLM runs its own warm-up batches."""
        self._step = None

    def corrupt(self, hidden: Tensor) -> None:
        """The first operator's implementation."""
        self.calls[EMBEDDING] += 1
        if self._step is not None:
            self._step.embed(hidden)

    def act(self, hidden: Tensor, residual: Tensor | None, site: Site, name: str) -> None:
        """The other operators' implementation."""
        self.calls[name] += 1
        if self._step is not None:
            self._step.act(hidden, residual, site)


SWITCHBOARD = Switchboard()


def name_of(site: Site) -> str:
    """The site as it is counted: ``layer:3``."""
    return f"{site.kind}:{site.layer}"


# Made once: a step passes each of them in every layer.
_LAYERS = [(Site("layer", i), f"layer:{i}") for i in range(512)]
_MLPS = [(Site("mlp", i), f"mlp:{i}") for i in range(512)]


def define() -> None:
    """Register the operators with torch.  A second call does nothing."""
    if _libraries:
        return
    library: Any = torch.library.Library("lethe", "FRAGMENT")  # type: ignore[no-untyped-call]
    for schema, run, fake in (
        ("corrupt(Tensor(a!) hidden) -> ()", _corrupt, _fake_corrupt),
        ("steer(Tensor(a!) hidden, Tensor? residual, int layer) -> ()", _steer, _fake_steer),
        ("adjust(Tensor(a!) keys, int layer) -> ()", _adjust, _fake_adjust),
    ):
        name = schema.partition("(")[0]
        library.define(schema)
        library.impl(name, run, "CompositeExplicitAutograd")
        torch.library.register_fake(f"lethe::{name}", fake, lib=library)
    _libraries.append(library)


def _corrupt(hidden: Tensor) -> None:
    SWITCHBOARD.corrupt(hidden)


def _steer(hidden: Tensor, residual: Tensor | None, layer: int) -> None:
    SWITCHBOARD.act(hidden, residual, *_LAYERS[layer])


def _adjust(keys: Tensor, layer: int) -> None:
    SWITCHBOARD.act(keys, None, *_MLPS[layer])


def _fake_corrupt(hidden: Tensor) -> None:
    del hidden


def _fake_steer(hidden: Tensor, residual: Tensor | None, layer: int) -> None:
    del hidden, residual, layer


def _fake_adjust(keys: Tensor, layer: int) -> None:
    del keys, layer
