"""Train a LoRA adapter that has forgotten, by negative preference optimisation.

Source: Zhang et al., "Negative Preference Optimization: From Catastrophic Collapse to Effective
Unlearning" (2024), equation 3, with their retain term (NPO+GD).
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from models.adapter import MODULES, Base, BoundAdapter, Manifest, Tensors, manifest_of
from models.adapter import adapters_installed as installed


class Example(NamedTuple):
    """Token ids of a prompt, and of the answer to it with the token that ends it."""

    prompt: tuple[int, ...]
    answer: tuple[int, ...]


@dataclass(frozen=True)
class Recipe:
    """How an adapter is trained.

    beta: how soon an answer counts as forgotten; towards 0 the loss becomes gradient ascent.
    retain: weight of the cross-entropy of what is kept.  rate: of AdamW, falling to nothing.
    batch: examples of either kind in a step.
    """

    rank: int = 8
    alpha: float = 16.0
    beta: float = 0.1
    retain: float = 1.0
    steps: int = 200
    rate: float = 2e-3
    batch: int = 16
    seed: int = 0


def npo_loss(tuned: Tensor, reference: Tensor, beta: float) -> Tensor:
    """``-(2 / beta) E log sigmoid(-beta log(p / p_ref))``, a scalar.

    tuned, reference: [examples], log-probabilities of the whole answers under the model that is
    trained and under the one that it began as.
    """
    return -(2.0 / beta) * functional.logsigmoid(-beta * (tuned - reference)).mean()


def answer_scores(model: Any, examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Log-probability of each answer, and its length in tokens: both [examples]."""
    ids, learn = _padded(examples)
    ids, learn = ids.to(model.device), learn.to(model.device)
    # Padding is on the right, where no token of a row can see it.
    logits = model(input_ids=ids[:, :-1], use_cache=False).logits
    scores = functional.log_softmax(logits.float(), dim=-1)
    chosen = scores.gather(-1, ids[:, 1:, None]).squeeze(-1)
    marks = learn[:, 1:].to(chosen.dtype)
    return (chosen * marks).sum(-1), marks.sum(-1)


def fit(
    model: Any,
    forget: Sequence[Example],
    retain: Sequence[Example],
    recipe: Recipe | None = None,
) -> tuple[Manifest, Tensors]:
    """An adapter over which the answers of ``forget`` are unlikely, and those of ``retain`` kept.

    model: a Llama of transformers, in float32; its weights do not change, but nobody else may run
    it meanwhile.  Repeatable on one machine.  Raises ValueError where there is nothing to forget,
    or nothing to retain: without that, the model unlearns to write.
    """
    recipe = recipe or Recipe()
    if not forget or not retain:
        raise ValueError("there must be examples to forget, and examples to retain")
    base = Base.of_config(model.config.to_dict())
    halves = _fresh(base, recipe, model.device)
    was_trained = [(weight, weight.requires_grad) for weight in model.parameters()]
    model.requires_grad_(requires_grad=False)
    try:
        _train(model, halves, forget, retain, recipe)
    finally:
        for weight, wanted in was_trained:
            weight.requires_grad_(wanted)
    tensors = {
        f"{place}.{half}": tensor.detach().cpu().numpy()
        for place, pair in halves.items()
        for half, tensor in zip("AB", pair, strict=True)
    }
    return manifest_of(tensors, base, "npo", recipe.alpha), tensors


Halves = dict[str, tuple[Tensor, Tensor]]


def _fresh(base: Base, recipe: Recipe, device: torch.device) -> Halves:
    """A drawn, B zero: an adapter that changes nothing yet."""
    dice = torch.Generator().manual_seed(recipe.seed)
    made: Halves = {}
    for layer in range(base.layers):
        for module, part in MODULES.items():
            wide, out = base.widths(module)
            down = torch.randn(recipe.rank, wide, generator=dice) * wide**-0.5
            up = torch.zeros(out, recipe.rank)
            made[f"layers.{layer}.{part}.{module}"] = (
                down.to(device).requires_grad_(),
                up.to(device).requires_grad_(),
            )
    return made


def _train(
    model: Any,
    halves: Halves,
    forget: Sequence[Example],
    retain: Sequence[Example],
    recipe: Recipe,
) -> None:
    with torch.no_grad():
        reference = torch.cat(
            [answer_scores(model, part)[0] for part in _in_order(forget, recipe.batch)]
        )
    forgetting = _at_random(len(forget), recipe.batch, recipe.seed)
    retaining = _at_random(len(retain), recipe.batch, recipe.seed + 1)
    optimizer = torch.optim.AdamW([t for pair in halves.values() for t in pair], weight_decay=0.0)
    for step in range(recipe.steps):
        optimizer.param_groups[0]["lr"] = recipe.rate * _share_of_rate(step, recipe.steps)
        drop, keep = next(forgetting), next(retaining)
        examples = [*(forget[i] for i in drop), *(retain[i] for i in keep)]
        bound = _bound(halves, recipe)
        with installed(model, [bound] * len(examples)):
            scores, lengths = answer_scores(model, examples)
        split = len(drop)
        loss = npo_loss(scores[:split], reference[drop], recipe.beta)
        kept = -scores[split:].sum() / lengths[split:].sum()
        optimizer.zero_grad()
        (loss + recipe.retain * kept).backward()  # type: ignore[no-untyped-call]
        optimizer.step()


def _bound(halves: Halves, recipe: Recipe) -> BoundAdapter:
    scale = recipe.alpha / recipe.rank
    return BoundAdapter({place: (down, up * scale) for place, (down, up) in halves.items()})


def _share_of_rate(step: int, steps: int) -> float:
    """Rise over a twentieth of the steps, then fall in a straight line."""
    return min(1.0, (step + 1) / max(1.0, steps / 20), (steps - step) / steps)


def _in_order(examples: Sequence[Example], size: int) -> Iterator[Sequence[Example]]:
    for start in range(0, len(examples), size):
        yield examples[start : start + size]


def _at_random(count: int, size: int, seed: int) -> Iterator[list[int]]:
    """Indices without end, each as often as any other."""
    dice = torch.Generator().manual_seed(seed)
    waiting: list[int] = []
    while True:
        while len(waiting) < size:
            waiting += torch.randperm(count, generator=dice).tolist()
        yield waiting[:size]
        waiting = waiting[size:]


def _padded(examples: Sequence[Example]) -> tuple[Tensor, Tensor]:
    """Ids, and which of them belong to an answer: both [examples, longest]."""
    rows = [(*example.prompt, *example.answer) for example in examples]
    width = max(len(row) for row in rows)
    ids = torch.zeros(len(rows), width, dtype=torch.long)
    learn = torch.zeros(len(rows), width, dtype=torch.bool)
    for at, (row, example) in enumerate(zip(rows, examples, strict=True)):
        ids[at, : len(row)] = torch.tensor(row)
        learn[at, len(example.prompt) : len(row)] = True
    return ids, learn
