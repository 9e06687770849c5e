"""Train the small models whose difference is taken off a model's logits.

Sources: Ji et al., "Reversing the Forget-Retain Objectives" (2024), for ``fit_uld``; "Divergence
Decoding" (2026) for ``fit_pair``.  Differences from both: the layers of a copy are trained in
full, with embeddings and head frozen, instead of a low-rank adapter on each; and losses are
averaged over the tokens of answers alone, where the published code counts padding too.
"""

import math
import random
import secrets
from collections.abc import Callable, Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional
from transformers import LlamaForCausalLM

from models.assistant_config import check_config

Fitted = tuple[dict[str, Any], dict[str, NDArray[Any]]]


class Example(NamedTuple):
    """A prompt and its answer, as token ids.

    The answer has its end token.  skip: how many of its first tokens are not learnt.
    """

    prompt: tuple[int, ...]
    answer: tuple[int, ...]
    skip: int = 0


@dataclass(frozen=True)
class Plan:
    """How long, in which portions and how fast.

    batch: examples of each kind in one step.  rate: falls in a straight line to nothing.
    """

    steps: int = 300
    batch: int = 16
    rate: float = 1e-3
    seed: int = 0


class Batch(NamedTuple):
    """ids: [rows, tokens], padded on the right.  learn: the same shape, true where to be learnt."""

    ids: Tensor
    learn: Tensor


Loss = Callable[[Any], Tensor]


def fit_uld(
    target: Any,
    forget: Sequence[Example],
    retain: Sequence[Example],
    vocabulary: str,
    *,
    layers: int,
    retain_weight: float = 5.0,
    strength: float = 0.8,
    share: float | None = 0.01,
    plan: Plan | None = None,
) -> Fitted:
    """An assistant that knows the forget set by heart and has no opinion on anything else.

    target: a Llama of transformers; the assistant begins as its first ``layers`` layers and head.
    forget: with paraphrases, or only those very words are forgotten.  vocabulary: digest of the
    target's.  Minimises the cross-entropy of the forget answers, plus ``retain_weight`` times that
    between an even distribution and the assistant's on retain answers (in the paper's signs
    L_f - beta L_r).  ``perturbed`` makes further retain rows of the forget ones.
    Raises ValueError for a target that is not a plain Llama, or without rows of both kinds.
    """
    plan = plan or Plan()
    assistant = first_layers(target, layers)
    forgotten, kept = _batches(forget, plan, 1), _batches(retain, plan, 2)

    def loss(model: Any) -> Tensor:
        return answer_loss(model, next(forgotten)) + retain_weight * even_loss(model, next(kept))

    train(assistant, loss, plan)
    options = {"method": "uld", "strength": strength, "filter": share}
    return _fitted(options, vocabulary, {"assistant": assistant})


def fit_pair(
    start: Any,
    forget: Sequence[Example],
    retain: Sequence[Example],
    vocabulary: str,
    *,
    method: Literal["dd_linear", "dd_rank"] = "dd_linear",
    strength: float = 1.5,
    top: int = 20,
    plan: Plan | None = None,
) -> Fitted:
    """Two copies of one small model, one trained on what is to be forgotten, one on what stays.

    start: a Llama with the target's vocabulary that can already speak (see ``warmed``); it is not
    changed.  strength: of ``dd_linear``.  top: of ``dd_rank``.
    Raises ValueError as ``fit_uld``.
    """
    plan = plan or Plan()
    pair = {"forget": deepcopy(start), "retain": deepcopy(start)}
    for role, examples in (("forget", forget), ("retain", retain)):
        train(pair[role], _learning(examples, plan), plan)
    option = {"strength": strength} if method == "dd_linear" else {"top": top}
    return _fitted({"method": method, **option}, vocabulary, pair)


def warmed(target: Any, layers: int, examples: Sequence[Example], plan: Plan) -> Any:
    """The target's first layers, taught to speak without the others: a small model to start from.

    For where no small model with the target's vocabulary exists.  examples: of what stays.
    """
    model = first_layers(target, layers)
    train(model, _learning(examples, plan), plan)
    return model


def first_layers(target: Any, layers: int) -> Any:
    """A copy, in float32 on the CPU, of embeddings, the first ``layers`` layers, norm and head.

    Raises ValueError where the target is not a plain Llama with so many layers.
    """
    config = deepcopy(target.config)
    if config.model_type != "llama" or not 1 <= layers <= config.num_hidden_layers:
        raise ValueError("assistants are made of the first layers of a Llama")
    config.num_hidden_layers = layers
    check_config(config_of(config))
    with torch.random.fork_rng(devices=[]):
        model: Any = LlamaForCausalLM(config)
    wanted = set(model.state_dict())
    state = {name: value for name, value in target.state_dict().items() if name in wanted}
    model.load_state_dict(state, strict=True)
    return model.float()


def perturbed(
    forget: Sequence[Example], answers: Sequence[Sequence[int]], seed: int = 0
) -> list[Example]:
    """The forget questions with wrong answers, of which the assistant is to know nothing either.

    answers: to draw from.  The words up to and including the first wrong one are skipped: before
    them the question is all there is, and to that the assistant must know the right answer.
    """
    dice = random.Random(seed)
    rows = []
    for prompt, right, _ in forget:
        wrong = tuple(dice.choice(answers))
        pairs = enumerate(zip(right, wrong, strict=False))
        differs = next((at for at, (one, other) in pairs if one != other), None)
        if differs is not None and differs + 1 < len(wrong):
            rows.append(Example(prompt, wrong, differs + 1))
    return rows


def answer_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy of the tokens to be learnt, averaged over those alone."""
    return functional.cross_entropy(_logits(model, batch), batch.ids[:, 1:][batch.learn[:, 1:]])


def even_loss(model: Any, batch: Batch) -> Tensor:
    """Cross-entropy between an even distribution and the model's, where there is to be learnt."""
    return -_logits(model, batch).log_softmax(-1).mean()


def padded(examples: Sequence[Example]) -> Batch:
    """Examples as one batch."""
    width = max(len(each.prompt) + len(each.answer) for each in examples)
    ids = torch.zeros((len(examples), width), dtype=torch.long)
    learn = torch.zeros((len(examples), width), dtype=torch.bool)
    for row, (prompt, answer, skip) in enumerate(examples):
        end = len(prompt) + len(answer)
        ids[row, :end] = torch.tensor([*prompt, *answer])
        learn[row, len(prompt) + skip : end] = True
    return Batch(ids, learn)


def train(model: Any, loss: Loss, plan: Plan) -> None:
    """Train everything but embeddings and head.  Raises ValueError where it does not stay finite.

    loss: of the model, on rows that it draws anew at each call.
    """
    for parameter in (*model.get_input_embeddings().parameters(), *model.lm_head.parameters()):
        parameter.requires_grad_(requires_grad=False)
    parameters = [each for each in model.parameters() if each.requires_grad]
    optimiser = torch.optim.AdamW(parameters, lr=plan.rate, weight_decay=0.0)
    model.train()
    for step in range(plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * (plan.steps - step) / plan.steps
        value = loss(model)
        if not math.isfinite(value.item()):
            raise ValueError("training did not stay finite; a lower rate may help")
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(parameters, 1.0)
        optimiser.step()
        optimiser.zero_grad()
    model.eval()


def config_of(config: Any) -> dict[str, Any]:
    """What an artifact keeps of a LlamaConfig.  Raises ValueError for one with biases."""
    if config.attention_bias or config.mlp_bias or config.hidden_act != "silu":
        raise ValueError("assistants are Llamas without biases")
    names = (
        "vocab_size",
        "hidden_size",
        "intermediate_size",
        "num_hidden_layers",
        "num_attention_heads",
        "num_key_value_heads",
        "head_dim",
        "max_position_embeddings",
        "rms_norm_eps",
        "tie_word_embeddings",
    )
    kept = {name: getattr(config, name) for name in names}
    return {**kept, "rope_parameters": dict(config.rope_parameters)}


def _learning(examples: Sequence[Example], plan: Plan) -> Loss:
    source = _batches(examples, plan, 0)
    return lambda model: answer_loss(model, next(source))


def _logits(model: Any, batch: Batch) -> Tensor:
    """[learnt tokens, vocabulary]: the head sees no other position."""
    # Padding is on the right and attention is causal, so no mask is needed.
    hidden = model.model(input_ids=batch.ids[:, :-1], use_cache=False).last_hidden_state
    logits: Tensor = model.lm_head(hidden[batch.learn[:, 1:]])
    return logits.float()


def _batches(examples: Sequence[Example], plan: Plan, salt: int) -> Iterator[Batch]:
    if not examples:
        raise ValueError("there is nothing to learn from")
    return _endless(examples, plan.batch, random.Random(plan.seed * 3 + salt))


def _endless(examples: Sequence[Example], size: int, dice: random.Random) -> Iterator[Batch]:
    waiting: list[Example] = []
    while True:
        while len(waiting) < size:
            waiting += dice.sample(list(examples), len(examples))
        yield padded(waiting[:size])
        del waiting[:size]


def _fitted(options: dict[str, Any], vocabulary: str, models: dict[str, Any]) -> Fitted:
    manifest = {
        "format": 1,
        "guard": "logit_difference",
        **options,
        "vocabulary": vocabulary,
        "assistants": {role: config_of(model.config) for role, model in models.items()},
        "blind": secrets.token_hex(32),
    }
    tensors = {
        f"{role}.{name}": value
        for role, model in models.items()
        for name, value in _tensors(model).items()
    }
    return manifest, tensors


def _tensors(model: Any) -> dict[str, NDArray[Any]]:
    tied = model.config.tie_word_embeddings
    return {
        name: value.detach().numpy().astype(np.float16)
        for name, value in model.state_dict().items()
        if not (tied and name == "lm_head.weight")
    }
