"""Subtract from the model's logits what small assistant models know of the subject.

Sources: Ji et al., "Reversing the Forget-Retain Objectives: An Efficient LLM Unlearning Framework
from Logit Difference" (2024), method ``uld``; "Divergence Decoding" (2026), methods ``dd_linear``
and ``dd_rank``.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from guards.case import Case, Edit, Match
from guards.needs import Needs
from guards.points import EngineModel, History, OnLogits
from guards.tensor_checks import is_int, is_number, manifest_of, require
from models.artifact import Artifact
from models.assistant_config import check_config, tensor_shapes

if TYPE_CHECKING:
    from torch import Tensor

    from models.assistant import Assistant

NAME = "logit_difference"
Method = Literal["uld", "dd_linear", "dd_rank"]

LOWERED = 1_000.0
"""What is taken off the logit of a token that is not to be chosen.

Not infinity: tokens of a row keep their order, so that one of which nothing else is allowed (by a
grammar, say) still goes on as the model would.
"""

ROLES: Mapping[str, tuple[str, ...]] = {
    "uld": ("assistant",),
    "dd_linear": ("forget", "retain"),
    "dd_rank": ("forget", "retain"),
}
_OPTIONS: Mapping[str, set[str]] = {
    "uld": {"strength", "filter"},
    "dd_linear": {"strength"},
    "dd_rank": {"top"},
}
_KEYS = {"method", "vocabulary", "assistants", "blind"}
_MOST_STRENGTH = 100.0

_WINDOW, _EVERY, _GRAM = 50, 25, 3
_LOOKS = 8


@dataclass(frozen=True)
class LogitDifference(OnLogits):
    """Steer every next token away from what the assistants have learnt by heart.

    artifact: digest of an artifact made by ``models.fitting.assistants``.
    """

    NEEDS = Needs(
        points=frozenset({"logits", "assistant"}),
        history=True,
        runners=frozenset({"V1", "local"}),
        tensor_parallel=False,
        pipeline_parallel=False,
    )

    artifact: str

    def on_prompt(self, case: Case, match: Match) -> Case:
        """Leave an edit that names no position: it is about whatever will be generated."""
        del match
        return case.edited(Edit(NAME, self.artifact, ()))

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not a logit difference of format 1."""
        method = artifact.manifest.get("method")
        require(isinstance(method, str) and method in METHODS, "unknown method")
        value = manifest_of(artifact, NAME, _KEYS | _OPTIONS[str(method)])
        _check_options(value)
        require(isinstance(value["vocabulary"], str), "vocabulary must be a digest")
        require(isinstance(value["blind"], str), "blind must be text")
        assistants = value["assistants"]
        require(isinstance(assistants, Mapping), "assistants must be an object")
        require(set(assistants) == set(ROLES[value["method"]]), "other assistants")
        for config in assistants.values():
            check_config(config)
        _check_tensors(artifact)

    @staticmethod
    def bind(artifact: Artifact, model: EngineModel) -> "BoundDifference":
        """Build the assistants on the model's device.

        They run in float32 on a CPU, in the model's dtype elsewhere.  Raises ValueError where the
        artifact is not for this vocabulary.
        """
        value = artifact.manifest
        if value["vocabulary"] != model.vocabulary.digest:
            raise ValueError("made for another vocabulary")
        if any(c["vocab_size"] != model.vocabulary.size for c in value["assistants"].values()):
            raise ValueError("an assistant has another number of logits")
        return BoundDifference(artifact, model)


class BoundDifference:
    """A logit difference in one engine.  It keeps assistants and their caches.

    degenerations: how often an answer was found to have degenerated.
    """

    def __init__(self, artifact: Artifact, model: EngineModel) -> None:
        self._how = artifact.manifest
        self._assistants = {role: _assistant(artifact, role, model) for role in self._roles}
        self._pins = pins(model)
        self._watch = Watch()

    @property
    def degenerations(self) -> int:
        """How often an answer was found to have degenerated."""
        return self._watch.found

    def apply(self, logits: "Tensor", histories: Sequence[History]) -> None:
        """See ``LogitsEdit``.  Raises ValueError where an assistant's logits are not finite."""
        from models.assistant import Asked

        asked = [Asked(each.key, [*each.prompt, *each.output]) for each in histories]
        opinions = [self._assistants[role].logits(asked).to(logits.device) for role in self._roles]
        if not all(bool(opinion.isfinite().all()) for opinion in opinions):
            raise ValueError("an assistant's logits are not finite")
        halvings = [self._watch.halvings(each) for each in histories]
        fixed = self._pins.to(logits.device)
        changed = self._changed(logits, opinions, halvings, fixed)
        logits.copy_(with_pinned(logits, changed, fixed))

    def forget(self, key: str) -> None:
        """Drop what the assistants and the watch keep of a request."""
        for assistant in self._assistants.values():
            assistant.forget(key)
        self._watch.forget(key)

    @property
    def _roles(self) -> tuple[str, ...]:
        return ROLES[self._how["method"]]

    def _changed(
        self,
        logits: "Tensor",
        opinions: Sequence["Tensor"],
        halvings: Sequence[int],
        fixed: "Tensor",
    ) -> "Tensor":
        how = self._how
        if how["method"] == "dd_rank":
            tops = [max(1, how["top"] >> times) for times in halvings]
            return dd_rank(logits, opinions[0], opinions[1], tops, fixed)
        strength = logits.new_tensor([[how["strength"] * 0.5**times] for times in halvings])
        if how["method"] == "uld":
            return uld(logits, opinions[0], strength, how["filter"])
        return dd_linear(logits, opinions[0], opinions[1], strength)


# --- formulas ------------------------------------------------------------------------------------


def uld(logits: "Tensor", assistant: "Tensor", strength: "Tensor", share: float | None) -> "Tensor":
    """``l - a * l_a`` among plausible tokens; the others are lowered by ``LOWERED``.

    logits, assistant: [n, vocabulary].  strength: [n, 1].
    share: r of the relative top filter, by which a token is plausible where its log-probability is
    at least ``min(max + log r, the (r * vocabulary)-th largest)``; None: all are.
    """
    changed = logits - strength * assistant
    if share is None:
        return changed
    certain = logits.log_softmax(-1)
    keep = max(1, int(share * logits.shape[-1]))
    floor = certain.topk(keep, dim=-1).values[:, -1:]
    floor = floor.minimum(certain.max(-1, keepdim=True).values + math.log(share))
    # A row of which nothing is allowed has no log-probabilities; it stays as it is in the end.
    return changed.where(certain >= floor, logits - LOWERED)


def dd_linear(logits: "Tensor", forget: "Tensor", retain: "Tensor", strength: "Tensor") -> "Tensor":
    """``l + a * (l_retain - l_forget)``; all [n, vocabulary], strength [n, 1]."""
    return logits + strength * (retain - forget)


def dd_rank(
    logits: "Tensor", forget: "Tensor", retain: "Tensor", tops: Sequence[int], fixed: "Tensor"
) -> "Tensor":
    """Lower, in each row, the ``top`` tokens with the largest ``l_forget - l_retain``.

    fixed: [vocabulary], tokens that do not take part.
    """
    import torch

    gain = (forget - retain).masked_fill(fixed, -torch.inf)
    best = gain.topk(min(max(tops), gain.shape[-1]), dim=-1)
    places = torch.arange(best.indices.shape[-1], device=logits.device)
    chosen = places < logits.new_tensor(tops)[:, None]
    lower = torch.zeros_like(logits).scatter(-1, best.indices, chosen.to(logits.dtype) * LOWERED)
    return logits - lower


def with_pinned(logits: "Tensor", changed: "Tensor", fixed: "Tensor") -> "Tensor":
    """The changed logits, with the fixed tokens' probabilities as they were.

    logits, changed: [n, vocabulary].  fixed: [vocabulary].  Fixed tokens keep their very logits;
    the others are moved together so that their total mass is what it was.  Minus infinity stays.
    """
    import torch

    mass = logits.masked_fill(fixed, -torch.inf).logsumexp(-1, keepdim=True)
    taken = changed.masked_fill(fixed, -torch.inf).logsumexp(-1, keepdim=True)
    moved = changed + (mass - taken)
    return moved.where(mass.isfinite() & ~fixed & ~logits.isneginf(), logits)


def pins(model: EngineModel) -> "Tensor":
    """[vocabulary], true for tokens that add no text or end a reply.

    They are left to the model: steered, they make answers that never end.
    """
    import torch

    fixed = torch.zeros(model.vocabulary.size, dtype=torch.bool, device=model.device)
    ids = sorted(model.vocabulary.controls | model.vocabulary.ends)
    fixed[torch.tensor(ids, dtype=torch.long, device=model.device)] = True
    fixed[len(model.vocabulary.pieces) :] = True
    return fixed


# --- degeneration --------------------------------------------------------------------------------


class Watch:
    """Finds answers that repeat themselves, which is how too strong a difference shows.

    After every 25 tokens the last 50 are looked at.  They have degenerated where fewer than half
    of their trigrams are different.  Of the last eight looks each such one halves the strength: so
    it comes back once the answer has found its way.  A function of the answer alone.
    found: degenerated looks so far, of all answers.
    """

    def __init__(self) -> None:
        self.found = 0
        self._known: dict[str, tuple[list[int], int]] = {}

    def halvings(self, history: History) -> int:
        """How often the strength is to be halved for the next token."""
        last = len(history.output) // _EVERY * _EVERY
        if last < _WINDOW:
            return 0
        first = max(0, last - _WINDOW - (_LOOKS - 1) * _EVERY)
        seen = list(history.output[first:last])
        known = self._known.get(history.key)
        if known is None or known[0] != seen:
            looks = range(_WINDOW, len(seen) + 1, _EVERY)
            times = sum(degenerate(seen[end - _WINDOW : end]) for end in looks)
            self.found += degenerate(seen[-_WINDOW:])
            known = self._known[history.key] = (seen, times)
        return known[1]

    def forget(self, key: str) -> None:
        """The request has ended."""
        self._known.pop(key, None)


def degenerate(tokens: Sequence[int]) -> bool:
    """Whether fewer than half of the trigrams are different."""
    grams = [tuple(tokens[at : at + _GRAM]) for at in range(len(tokens) - _GRAM + 1)]
    return 2 * len(set(grams)) < len(grams)


# --- artifacts -----------------------------------------------------------------------------------


def _assistant(artifact: Artifact, role: str, model: EngineModel) -> "Assistant":
    import torch

    from models.assistant import Assistant

    tensors = {
        name.removeprefix(f"{role}."): tensor
        for name, tensor in artifact.tensors.items()
        if name.startswith(f"{role}.")
    }
    dtype = torch.float32 if model.device.type == "cpu" else model.dtype
    return Assistant(artifact.manifest["assistants"][role], tensors, model.device, dtype)


def _check_options(value: Mapping[str, Any]) -> None:
    if "strength" in value:
        strength = value["strength"]
        require(is_number(strength) and 0 < strength <= _MOST_STRENGTH, "strength out of range")
    if "filter" in value:
        share = value["filter"]
        require(share is None or (is_number(share) and 0 < share < 1), "filter out of range")
    if "top" in value:
        require(is_int(value["top"], 1, 1 << 20), "top out of range")


def _check_tensors(artifact: Artifact) -> None:
    shapes = {
        f"{role}.{name}": shape
        for role, config in artifact.manifest["assistants"].items()
        for name, shape in tensor_shapes(config).items()
    }
    found = {name: array.shape for name, array in artifact.tensors.items()}
    require(found == shapes, "other tensors than those of the assistants")
    for array in artifact.tensors.values():
        require(array.dtype in (np.float16, np.float32), "a tensor is of another type")
        require(np.isfinite(array).all(), "a tensor holds what is not finite")


METHODS: tuple[str, ...] = get_args(Method)
