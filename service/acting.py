"""Edits made ready for one engine's model: each guard bound to its artifact, once.

What follows is shared by both engines, so that they cannot differ in what an edit means: which
rows an edit is about, in which order edits act, and how an answer ends where nothing may be said.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from threading import Lock
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from numpy.typing import NDArray

from guards.case import Edit
from guards.needs import Capabilities
from guards.points import (
    ActivationEdit,
    EngineModel,
    Follower,
    InEngine,
    LogitsEdit,
    Memory,
    OnActivations,
    OnEmbedding,
    OnLogits,
)
from models.artifact import Artifact
from service.admission import CheckedArtifacts, Refused

if TYPE_CHECKING:
    from torch import Tensor

Positions = NDArray[np.int64]


class Bound(NamedTuple):
    """A guard that acts inside this engine, bound to its artifact and the model."""

    guard: type[InEngine]
    artifact: Artifact
    follower: Follower | None = None
    activation: ActivationEdit | None = None
    logits: LogitsEdit | None = None


class Bindings:
    """Guards bound to artifacts, the most recently used ones kept.  Safe from several threads."""

    def __init__(
        self,
        artifacts: CheckedArtifacts,
        model: EngineModel,
        capabilities: Capabilities,
        limit: int = 1024,
    ) -> None:
        self.model = model
        self.capabilities = capabilities
        self._artifacts = artifacts
        self._limit = limit
        self._kept: OrderedDict[tuple[str, str], Bound] = OrderedDict()
        self._lock = Lock()

    def get(self, guard: str, digest: str) -> Bound:
        """Raises Refused where the artifact cannot be had, or this engine cannot apply it."""
        key = (guard, digest)
        with self._lock:
            if key in self._kept:
                self._kept.move_to_end(key)
                return self._kept[key]
        found = self._bind(guard, digest)
        with self._lock:
            found = self._kept.setdefault(key, found)
            while len(self._kept) > self._limit:
                self._kept.popitem(last=False)
        return found

    def forget(self, key: str) -> None:
        """A request has ended: no logits edit keeps anything of it."""
        with self._lock:
            edits = [bound.logits for bound in self._kept.values() if bound.logits]
        for edit in edits:
            edit.forget(key)

    def _bind(self, name: str, digest: str) -> Bound:
        guard, artifact = self._artifacts.get(name, digest)
        lacking = self.capabilities.lacking(guard.NEEDS)
        if lacking:
            raise Refused(f"this engine lacks what {name} needs: {', '.join(lacking)}")
        try:
            return _bound(guard, artifact, self.model, self.capabilities)
        except Refused:
            raise
        except ValueError as error:
            raise Refused("an artifact does not fit the model") from error


def _bound(
    guard: type[InEngine], artifact: Artifact, model: EngineModel, capabilities: Capabilities
) -> Bound:
    if issubclass(guard, OnEmbedding):
        follower = guard.follower(artifact, model)
        if follower is not None and not capabilities.history:
            raise Refused("this engine does not know the tokens so far in time")
        return Bound(guard, artifact, follower=follower)
    if issubclass(guard, OnActivations):
        return Bound(guard, artifact, activation=guard.bind(artifact, model))
    if issubclass(guard, OnLogits):
        return Bound(guard, artifact, logits=guard.bind(artifact, model))
    return Bound(guard, artifact)


@dataclass(frozen=True, eq=False)
class Acting:
    """One edit of one running request.

    positions: [n], sorted, absolute in the prompt.  memory: what an activation edit remembers.
    """

    bound: Bound
    positions: Positions
    memory: Memory

    def named(self, first: int, count: int) -> Positions:
        """Those of the prompt's positions [first, first + count) that the edit names."""
        low, high = np.searchsorted(self.positions, (first, first + count))
        return self.positions[low:high]

    def wants_generated(self) -> bool:
        """Whether it acts on positions after the prompt too."""
        activation = self.bound.activation
        return self.bound.follower is not None or (activation is not None and activation.generated)


def acting(edits: Iterable[Edit], bindings: Bindings, prompt_length: int) -> tuple[Acting, ...]:
    """The edits in their order, which is the order in which they act.  Raises Refused."""
    return tuple(
        Acting(
            bindings.get(edit.guard, edit.artifact),
            _positions(edit),
            Memory(prompt_length),
        )
        for edit in edits
    )


def _positions(edit: Edit) -> Positions:
    ranges = [np.arange(*span, dtype=np.int64) for span in edit.positions]
    return np.concatenate(ranges) if ranges else np.empty(0, dtype=np.int64)


def rows_of(how: Acting, first: int, count: int, history: Positions | None) -> Positions:
    """Positions, of [first, first + count), that an embedding or activation edit is to be shown.

    history: ids up to the last of these positions; it may be None for an edit that follows nothing.
    """
    length = how.memory.prompt_length
    named = how.named(first, count)
    after = np.arange(max(first, length), first + count, dtype=np.int64)
    if not len(after) or not how.wants_generated():
        return named
    if how.bound.follower is not None:
        if history is None:
            raise Refused("the tokens so far are not known")
        covered = how.bound.follower.covers(history, int(after[0]))
        after = after[covered]
    return np.concatenate([named, after])


def end_where_nothing_is_left(logits: "Tensor", ends: Sequence[int]) -> int:
    """Let rows [n, vocab] without any possible token end their answers.  Returns how many did.

    ends: ids that end an answer; a model without any says its first token for ever.
    Raises ValueError where a row is not made of numbers.
    """
    import torch

    highest = logits.amax(dim=-1)  # one pass over what may be 128,000 columns
    if bool(torch.isnan(highest).any()):
        raise ValueError("a guard returned logits that are not numbers")
    rows = torch.nonzero(highest == -torch.inf).flatten()
    if len(rows):
        at = torch.as_tensor(list(ends) or [0], device=logits.device)
        logits[rows[:, None], at] = 0.0
    return len(rows)
