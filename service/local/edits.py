"""Signed edits as interventions of the in-process engine: one request, one edit at a time."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from guards.adapter_routing import chosen
from guards.case import Edit
from guards.needs import Capabilities
from guards.points import EngineModel, History, OnEmbedding, Site, Visit
from guards.vocabulary import Vocabulary
from models.adapter import BoundAdapter
from models.local_engine import Interventions, LocalEngine, Sampling
from service.acting import Acting, Bindings, acting, end_where_nothing_is_left, rows_of
from service.admission import CheckedArtifacts

_PROBE = 4
CAPABILITIES = Capabilities(
    frozenset({"embedding", "activations", "mlp", "logits", "assistant", "adapter"}),
    runner="local",
)

Positions = NDArray[np.int64]


class NotEffective(RuntimeError):
    """What is done to the embeddings does not reach this model."""


def bindings_of(engine: LocalEngine, artifacts: CheckedArtifacts) -> Bindings:
    """What binds guards to this engine's model."""
    return Bindings(artifacts, engine_model(engine), CAPABILITIES)


def engine_model(engine: LocalEngine) -> EngineModel:
    """What guards may know of this engine's model."""
    return EngineModel(
        layers=engine.layers,
        scale=engine.embedding_rms,
        vocabulary=Vocabulary(engine.pieces, engine.end_ids, engine.vocab_size),
        device=engine.model.device,
        dtype=engine.model.dtype,
    )


def interventions(
    edits: Sequence[Edit], bindings: Bindings, prompt_length: int, key: str = ""
) -> Interventions:
    """What the edits ask for, in their order.  Raises Refused where one cannot be applied.

    prompt_length: tokens of the prompt.  key: of this generation; no other running one may have it.
    """
    ready = acting(edits, bindings, prompt_length)
    on_embedding = [how for how in ready if issubclass(how.bound.guard, OnEmbedding)]
    on_logits = [how for how in ready if how.bound.logits is not None]
    sites = {site for how in ready if how.bound.activation for site in how.bound.activation.sites}
    return Interventions(
        embedding=_embedding(on_embedding, bindings.model.scale) if on_embedding else None,
        activations={site: _activations(ready, site) for site in sites},
        logits=_logits(on_logits, bindings, key) if on_logits else None,
        adapter=_adapter(edits, bindings),
    )


def _adapter(edits: Sequence[Edit], bindings: Bindings) -> BoundAdapter | None:
    edit = chosen(tuple(edits))
    if edit is None:
        return None
    artifact = bindings.get(edit.guard, edit.artifact).artifact
    return BoundAdapter.bind(artifact, bindings.model.device, bindings.model.dtype)


def _embedding(
    ready: Sequence[Acting], scale: float
) -> Callable[[Tensor, Positions, Positions], Tensor]:
    def act(rows: Tensor, positions: Positions, history: Positions) -> Tensor:
        for how in ready:
            guard: Any = how.bound.guard
            shown = rows_of(how, int(positions[0]), len(positions), history)
            if len(shown):
                at = torch.from_numpy(shown - positions[0]).to(rows.device)
                rows = rows.clone()
                rows[at] = guard.on_embedding(rows[at], shown, how.bound.artifact, scale)
        return rows

    return act


def _activations(ready: Sequence[Acting], site: Site) -> Callable[[Tensor, Positions], Tensor]:
    def act(rows: Tensor, positions: Positions) -> Tensor:
        for how in ready:
            edit = how.bound.activation
            if edit is None or site not in edit.sites:
                continue
            shown = rows_of(how, int(positions[0]), len(positions), None)
            if len(shown):
                at = torch.from_numpy(shown - positions[0]).to(rows.device)
                visit = Visit(site, shown, np.zeros(len(shown), np.int64), [how.memory])
                rows = rows.clone()
                rows[at] = edit.apply(rows[at], visit)
        return rows

    return act


def _logits(
    ready: Sequence[Acting], bindings: Bindings, key: str
) -> Callable[[Tensor, Sequence[int], Sequence[int]], None]:
    ends = sorted(bindings.model.vocabulary.ends)

    def act(row: Tensor, prompt: Sequence[int], output: Sequence[int]) -> None:
        rows = row[None]
        for how in ready:
            if how.bound.logits is not None:
                how.bound.logits.apply(rows, [History(key, prompt, output)])
        end_where_nothing_is_left(rows, ends)

    return act


def prove_effect(engine: LocalEngine) -> None:
    """Raise NotEffective unless interventions are called for a prompt and decide its answer.

    Two prompts whose embeddings are made equal must give equal answers, and be seen in full.
    """
    seen: list[int] = []

    def same_for_all(rows: Tensor, positions: Positions, history: Positions) -> Tensor:
        del history
        seen.extend(positions.tolist())
        return torch.ones_like(rows) * engine.embedding_rms

    answers = {
        token: list(
            engine.generate(
                [token] * _PROBE,
                Sampling(max_tokens=2, ignore_eos=True),
                Interventions(same_for_all),
            )
        )
        for token in (1, engine.vocab_size - 1)
    }
    if len({tuple(answer) for answer in answers.values()}) != 1 or seen != [0, 1, 2, 3, 4] * 2:
        raise NotEffective("edits of the embeddings do not reach this model")
