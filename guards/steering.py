"""Steer the residual stream: add a direction, take one out, or map what is to be forgotten away.

Sources: mean differences, Rimsky et al., "Steering Llama 2 via Contrastive Activation Addition"
(2024); ablation, Arditi et al., "Refusal in Language Models Is Mediated by a Single Direction"
(2024); the null-space map, MLLMEraser (2025) and AlphaSteer (2025), kept rank-1; the norm kept,
GUARD-IT (2026); conditions, Lee et al., "Programming Refusal with Conditional Activation Steering"
(2025).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, get_args

import numpy as np

from guards.activation_rows import Rows, within
from guards.case import Case, Edit, Match, Span, merged
from guards.needs import Needs
from guards.points import ActivationEdit, EngineModel, OnActivations, Site, Visit
from guards.tensor_checks import (
    MOST_LAYERS,
    is_int,
    is_layers,
    is_number,
    manifest_of,
    require,
    require_tensors,
)
from models.artifact import Artifact

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray
    from torch import Tensor

NAME = "steering"
Reach = Literal["from_match", "matched", "last"]
Input = Literal["position", "last_prompt_token"]
Kind = Literal["add", "ablate", "map"]

_OWN_KEYS: Mapping[str, set[str]] = {"add": {"keep_norm"}, "ablate": set(), "map": {"input"}}
_STEP_KEYS = {"kind", "layers", "strength", "condition"}
_CONDITION_KEYS = {"input", "layer", "threshold", "above"}
_MOST_STEPS = 64
_MOST_STRENGTH = 1e6
_UNIT = 1e-3  # by how much float32 directions may miss being orthonormal
_TINY = 1e-30  # stands for the length of a vector that has none


@dataclass(frozen=True)
class Steering(OnActivations):
    """Steer from the match to the end of the prompt, and what is generated, as the artifact says.

    artifact: digest of a manifest as ``check`` describes it.  prompt: which positions of the prompt
    the engine is shown: ``from_match``: from the first token that names the subject on;
    ``matched``: the tokens that name it; ``last``: none of these.  The last token of the prompt is
    always among them: the answer begins there, and it is what is remembered.
    Raises TypeError for another value of ``prompt``.

    Right on every tensor-parallel rank, since each has the whole residual stream.  Layers are
    numbered through the whole model, so a pipeline stage acts at those it has; what is remembered
    stays in its stage: where a condition is read in one stage and steered in a later one, the later
    one has nothing and refuses.
    """

    NEEDS = Needs(points=frozenset({"activations"}), changes_prompt_kv=True)

    artifact: str
    prompt: Reach = "from_match"

    def __post_init__(self) -> None:
        if self.prompt not in get_args(Reach):
            raise TypeError("no such choice of prompt positions")

    def on_prompt(self, case: Case, match: Match) -> Case:
        """Leave an edit.  It always covers the last token of the prompt."""
        return case.edited(Edit(NAME, self.artifact, self._positions(case, match)))

    def _positions(self, case: Case, match: Match) -> tuple[Span, ...]:
        prompt = case.prompt
        end = len(prompt.ids)
        last = Span(end - 1, end)
        # A match that points nowhere is about all that the client wrote.
        named = prompt.positions(match.spans) or prompt.positions(prompt.content)
        if self.prompt == "last":
            return (last,)
        if self.prompt == "matched":
            return merged((*named, last))
        return (Span(named[0].start if named else 0, end),)

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Raise ValueError where the artifact is not a steering of format 1.

        Manifest: ``prompt``, ``generated``: whether the prompt positions that the edit names, and
        the generated ones, are changed.  ``steps``: applied in their order, each with ``kind``,
        ``layers``, ``strength``, ``condition``; and ``keep_norm`` (add) or ``input`` (map).
        Tensors of step i, float32, over its layers: ``i.vector`` [layers, hidden] (add; ablate, of
        length 1); ``i.read`` and ``i.write`` [layers, hidden] (map).
        A condition has ``input``, ``layer``, ``threshold``, ``above``, and a tensor
        ``i.condition`` [n, rank, hidden] of orthonormal rows: for input ``position`` one for each
        layer (``layer`` is null); for ``last_prompt_token`` just one, read at ``layer``, which
        must not come after the first layer that is steered.
        """
        value = manifest_of(artifact, NAME, {"prompt", "generated", "steps"})
        phases = (value["prompt"], value["generated"])
        require(all(isinstance(phase, bool) for phase in phases), "a phase is true or false")
        require(any(phases), "it must act on the prompt or on what is generated")
        steps = value["steps"]
        require(isinstance(steps, list) and 0 < len(steps) <= _MOST_STEPS, "there must be steps")
        for step in steps:
            _check_step(step)
        first = min(step["layers"][0] for step in steps)
        looks = [step["condition"]["layer"] for step in steps if step["condition"]]
        require(
            all(layer is None or layer <= first for layer in looks),
            "a condition must not be read after the first layer steered",
        )
        _check_tensors(artifact, steps)

    @staticmethod
    def bind(artifact: Artifact, model: EngineModel) -> ActivationEdit:
        """Ready to act.  Raises ValueError where the model lacks a layer."""
        return _Bound(artifact, model)


# --- checks --------------------------------------------------------------------------------------


def _check_step(step: Any) -> None:
    require(isinstance(step, dict) and step.get("kind") in get_args(Kind), "no such kind of step")
    require(set(step) == _STEP_KEYS | _OWN_KEYS[step["kind"]], "a step has other fields")
    require(is_layers(step["layers"]), "layers must be numbers, increasing")
    strength = step["strength"]
    require(is_number(strength) and abs(strength) <= _MOST_STRENGTH, "strength must be finite")
    require(isinstance(step.get("keep_norm", False), bool), "keep_norm is true or false")
    require(step.get("input", "position") in get_args(Input), "no such input of a map")
    if step["condition"] is not None:
        _check_condition(step["condition"])


def _check_condition(condition: Any) -> None:
    require(
        isinstance(condition, dict) and set(condition) == _CONDITION_KEYS,
        "a condition has other fields",
    )
    require(condition["input"] in get_args(Input), "no such input of a condition")
    if condition["input"] == "position":
        require(condition["layer"] is None, "a position is judged at the layer it is steered at")
    else:
        require(is_int(condition["layer"], 0, MOST_LAYERS), "a condition must name its layer")
    threshold = condition["threshold"]
    require(is_number(threshold) and -1 <= threshold <= 1, "a threshold is a cosine")
    require(isinstance(condition["above"], bool), "above is true or false")


def _check_tensors(artifact: Artifact, steps: list[Any]) -> None:
    widths = {tensor.shape[-1] for tensor in artifact.tensors.values() if tensor.ndim}
    require(len(widths) == 1, "tensors must all be as wide as the residual stream")
    (hidden,) = widths
    shapes: dict[str, tuple[int | None, ...]] = {}
    for index, step in enumerate(steps):
        layers = len(step["layers"])
        for name in ("read", "write") if step["kind"] == "map" else ("vector",):
            shapes[f"{index}.{name}"] = (layers, hidden)
        condition = step["condition"]
        if condition:
            count = layers if condition["input"] == "position" else 1
            shapes[f"{index}.condition"] = (count, None, hidden)
    require_tensors(artifact, shapes, frozenset())
    for index, step in enumerate(steps):
        if step["kind"] == "ablate":
            _require_orthonormal(artifact.tensors[f"{index}.vector"][:, None])
        if step["condition"]:
            _require_orthonormal(artifact.tensors[f"{index}.condition"])


def _require_orthonormal(bases: "NDArray[Any]") -> None:
    """bases: [n, rank, hidden]."""
    wide = bases.astype(np.float64)
    products = wide @ wide.transpose(0, 2, 1)
    require(np.abs(products - np.eye(bases.shape[1])).max() <= _UNIT, "rows must be orthonormal")


# --- in the engine -------------------------------------------------------------------------------


class _Condition:
    """cos(h, its projection) above or below a threshold.

    bases: [n, rank, hidden], orthonormal rows.  layer: where the last prompt token is read; None:
    every position is judged where it is steered.
    """

    def __init__(self, how: Mapping[str, Any], bases: "Tensor", key: int) -> None:
        self.layer: int | None = how["layer"]
        self._bases, self._key = bases, key
        self._threshold, self._above = float(how["threshold"]), bool(how["above"])

    def look(self, state: "Tensor", rows: Rows) -> None:
        """Remember how the last prompt tokens are judged.  state: [n, hidden]."""
        rows.remember(self._key, state, lambda last: self._holds(last, 0))

    def holds(self, state: "Tensor", rows: Rows, at: int) -> "Tensor":
        """[n], true where it holds.  at: which of the step's layers this is."""
        if self.layer is None:
            return self._holds(state, at)
        return rows.tensor(rows.remembered(self._key) > 0.5)

    def _holds(self, state: "Tensor", at: int) -> "Tensor":
        # The cosine of a vector and its projection is the share of its length that is left.
        left = (state[:, None] * self._bases[at]).sum(-1).norm(dim=-1)
        cosine = left / state.norm(dim=-1).clamp(min=_TINY)
        holds: Tensor = cosine > self._threshold if self._above else cosine < self._threshold
        return holds


class _Step:
    """One step of an artifact, over all of its layers."""

    def __init__(self, index: int, artifact: Artifact, device: "torch.device") -> None:
        import torch

        def tensor(name: str) -> "Tensor":
            return torch.tensor(artifact.tensors[f"{index}.{name}"], device=device)

        how = artifact.manifest["steps"][index]
        self.layers: list[int] = how["layers"]
        self._strength = float(how["strength"])
        self._keep_norm = bool(how.get("keep_norm"))
        read, write = ("read", "write") if how["kind"] == "map" else ("vector", "vector")
        # By layer, and the strength in what is written: a step passes every layer.
        self._read = tensor(read).unbind()
        self._write = (self._strength * tensor(write)).unbind()
        moves = {"add": self._added, "ablate": self._ablated, "map": self._mapped}
        self._move = moves[how["kind"]]
        self._key = (index + 1) * 2 * MOST_LAYERS
        self._from_last = how.get("input") == "last_prompt_token"
        self.condition: _Condition | None = None
        if how["condition"]:
            self.condition = _Condition(how["condition"], tensor("condition"), index)

    @property
    def waits(self) -> bool:
        """Whether it cannot act before the last token of the prompt."""
        return self._from_last or bool(self.condition and self.condition.layer is not None)

    def moved(self, state: "Tensor", rows: Rows, at: int) -> "Tensor":
        """All rows steered, whether or not they shall be.  at: which of its layers this is."""
        return self._move(state, rows, at)

    def _added(self, state: "Tensor", rows: Rows, at: int) -> "Tensor":
        del rows
        moved = state + self._write[at]
        if not self._keep_norm:
            return moved
        lengths = moved.norm(dim=-1, keepdim=True).clamp(min=_TINY)
        kept: Tensor = moved * (state.norm(dim=-1, keepdim=True) / lengths)
        return kept

    def _ablated(self, state: "Tensor", rows: Rows, at: int) -> "Tensor":
        del rows
        along = (state * self._read[at]).sum(-1, keepdim=True)
        return state.addcmul(along, self._write[at], value=-1)

    def _mapped(self, state: "Tensor", rows: Rows, at: int) -> "Tensor":
        def gate(of: "Tensor") -> "Tensor":
            return (of * self._read[at]).sum(-1)

        if not self._from_last:
            return state.addcmul(gate(state)[:, None], self._write[at])
        key = self._key + self.layers[at]
        rows.remember(key, state, gate)
        gates = rows.tensor(rows.remembered(key).astype(np.float32))
        return state.addcmul(gates[:, None], self._write[at])


class _Turn(NamedTuple):
    """A step at one of its layers."""

    step: _Step
    at: int


class _Bound:
    def __init__(self, artifact: Artifact, model: EngineModel) -> None:
        value = artifact.manifest
        steps = [_Step(index, artifact, model.device) for index in range(len(value["steps"]))]
        self.generated: bool = value["generated"]
        self._prompt: bool = value["prompt"]
        self._turns: dict[int, list[_Turn]] = {}
        self._looks: dict[int, list[_Condition]] = {}
        for step in steps:
            for at, layer in enumerate(step.layers):
                self._turns.setdefault(layer, []).append(_Turn(step, at))
            if step.condition is not None and step.condition.layer is not None:
                self._looks.setdefault(step.condition.layer, []).append(step.condition)
        acting = {*self._turns, *self._looks}
        require(max(acting) < model.layers, "the model does not have that many layers")
        self.sites = frozenset(Site("layer", layer) for layer in acting)

    def apply(self, rows: "Tensor", visit: Visit) -> "Tensor":
        """Rows that are not steered keep every bit; the others are finite."""
        plan = self._planned(visit, rows.device)
        where, came = plan.where, rows.float()
        for condition in self._looks.get(visit.site.layer, ()):
            condition.look(came, where)
        state, touched = came, _Acts.none(len(where.after))
        for step, at in self._turns.get(visit.site.layer, ()):
            acts = plan.acts[step.waits]
            if not (acts.some or step.waits):
                continue
            moved = step.moved(state, where, at)
            if step.condition is not None:
                # Judged as they came: one step does not decide about the next one.
                acts = acts.where(step.condition.holds(came, where, at).cpu().numpy())
            state = moved if acts.all else moved.where(where.tensor(acts.rows)[:, None], state)
            touched = touched.joined(acts)
        if not touched.some:
            return rows
        changed = within(state, rows.dtype)
        # Masks cost as much as steering itself, and most visits are steered as a whole.
        return changed if touched.all else changed.where(where.tensor(touched.rows)[:, None], rows)

    def _planned(self, visit: Visit, device: "torch.device") -> "_Plan":
        """Made at the first site of a forward pass, and the same at all others."""
        if visit.scratch is None:
            return self._plan(visit, device)
        if NAME not in visit.scratch:
            visit.scratch[NAME] = self._plan(visit, device)
        found: _Plan = visit.scratch[NAME]
        return found

    def _plan(self, visit: Visit, device: "torch.device") -> "_Plan":
        where = Rows(visit, device)
        phase = np.where(where.after > 0, self.generated, self._prompt)
        behind = phase & (where.after >= 0)
        return _Plan(where, {False: _Acts.of(phase), True: _Acts.of(behind)})


class _Acts(NamedTuple):
    """Which rows are steered.  rows: [n]."""

    rows: "NDArray[np.bool_]"
    some: bool
    all: bool

    @staticmethod
    def of(rows: "NDArray[np.bool_]") -> "_Acts":
        return _Acts(rows, bool(rows.any()), bool(rows.all()))

    @staticmethod
    def none(count: int) -> "_Acts":
        return _Acts(np.zeros(count, bool), some=False, all=False)

    def where(self, holds: "NDArray[np.bool_]") -> "_Acts":
        return _Acts.of(self.rows & holds)

    def joined(self, other: "_Acts") -> "_Acts":
        return other if other.all or not self.some else _Acts.of(self.rows | other.rows)


class _Plan(NamedTuple):
    """acts: by whether a step waits for the last token of the prompt."""

    where: Rows
    acts: Mapping[bool, _Acts]
