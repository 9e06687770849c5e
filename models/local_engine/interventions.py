"""What may be done inside the model while it generates, as plain functions.

Each point of the model has one field here and one hook in ``installed``.  Sequences are visited one
by one, with no thought of speed: this is what faster engines are held to.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from models.adapter import BoundAdapter, adapters_installed

Positions = NDArray[np.int64]
EmbeddingHook = Callable[[Tensor, Positions, Positions], Tensor]
ActivationHook = Callable[[Tensor, Positions], Tensor]
LogitsHook = Callable[[Tensor, Sequence[int], Sequence[int]], None]
Place = tuple[str, int]


class InterventionFailed(ValueError):
    """A hook returned something that cannot stand for what it was given."""


@dataclass(frozen=True)
class Interventions:
    """The interventions of one generation.

    embedding: called with the rows [tokens, hidden] that enter the first layer, their absolute
    positions [tokens], and all token ids up to the last of them [so far], for prompt and generated
    tokens alike; returns the same shape and dtype, finite.
    activations: by place, called with rows and positions likewise.  ``("layer", i)``: the residual
    stream after decoder layer i, [tokens, hidden]; ``("mlp", i)``: the input of its ``down_proj``,
    [tokens, intermediate].
    logits: called with the next token's logits [vocab], float32, to be changed in place, the
    prompt's ids and those generated so far.
    adapter: low-rank changes of the linear layers, in every position.
    All must be pure functions of these, as a prompt may be visited in pieces.
    """

    embedding: EmbeddingHook | None = None
    activations: Mapping[Place, ActivationHook] = field(
        default_factory=lambda: MappingProxyType({})
    )
    logits: LogitsHook | None = None
    adapter: BoundAdapter | None = None


NONE = Interventions()


class Row(NamedTuple):
    """One sequence of a forward pass.

    positions: [tokens], -1 where there is only padding.  history: [so far], the ids up to the last
    of these tokens, without padding.
    """

    positions: Positions
    history: Positions
    interventions: Interventions


@contextmanager
def installed(model: Any, layers: nn.ModuleList, rows: Sequence[Row]) -> Iterator[None]:
    """The rows' interventions act in every forward pass within; nothing is left behind.

    model: of transformers; layers: its decoder's.  Raises ValueError where an adapter does not fit.
    """
    with ExitStack() as stack:
        if any(row.interventions.adapter for row in rows):
            stack.enter_context(adapters_installed(model, [r.interventions.adapter for r in rows]))
        if any(row.interventions.embedding for row in rows):
            hook = _before(lambda hidden: _with_embeddings(hidden, rows))
            handle = layers[0].register_forward_pre_hook(hook, with_kwargs=True)
            stack.callback(handle.remove)
        for kind, layer in {place for row in rows for place in row.interventions.activations}:
            stack.callback(_install(layers[layer], (kind, layer), rows).remove)
        yield


def _install(layer: nn.Module, place: Place, rows: Sequence[Row]) -> Any:
    def change(hidden: Tensor) -> Tensor:
        return _with_activations(hidden, place, rows)

    if place[0] == "mlp":
        down: nn.Module = layer.get_submodule("mlp.down_proj")
        return down.register_forward_pre_hook(_before(change), with_kwargs=True)

    def after(module: nn.Module, args: Any, output: Any) -> Any:
        del module, args
        return (change(output[0]), *output[1:]) if isinstance(output, tuple) else change(output)

    return layer.register_forward_hook(after)


def _before(change: Callable[[Tensor], Tensor]) -> Callable[..., tuple[Any, dict[str, Any]]]:
    def hook(
        module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any]
    ) -> tuple[tuple[Any, ...], dict[str, Any]]:
        del module
        if args:
            return (change(args[0]), *args[1:]), kwargs
        return args, {**kwargs, "hidden_states": change(kwargs["hidden_states"])}

    return hook


def _with_embeddings(hidden: Tensor, rows: Sequence[Row]) -> Tensor:
    """hidden: [rows, tokens, hidden]; a new tensor, changed only where a row has a hook."""
    changed = hidden.clone()
    for index, row in enumerate(rows):
        act = row.interventions.embedding
        if act is not None:
            real, positions = _real(row, hidden)
            old = hidden[index, real]
            changed[index, real] = _checked(act(old.clone(), positions, row.history), old)
    return changed


def _with_activations(hidden: Tensor, place: Place, rows: Sequence[Row]) -> Tensor:
    changed = hidden.clone()
    for index, row in enumerate(rows):
        act = row.interventions.activations.get(place)
        if act is not None:
            real, positions = _real(row, hidden)
            old = hidden[index, real]
            changed[index, real] = _checked(act(old.clone(), positions), old)
    return changed


def _real(row: Row, hidden: Tensor) -> tuple[Tensor, Positions]:
    """Where the row's tokens stand among the padding, and their positions."""
    real = np.flatnonzero(row.positions >= 0)
    return torch.from_numpy(real).to(hidden.device), row.positions[real]


def _checked(new: Tensor, old: Tensor) -> Tensor:
    if new.shape != old.shape or new.dtype != old.dtype or not bool(new.isfinite().all()):
        raise InterventionFailed("a hook changed the shape or dtype, or returned infinite values")
    return new
