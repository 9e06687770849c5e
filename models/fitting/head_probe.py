"""Fit a probe on the output head: which tokens would knowing the forget set bring forward?

Source: RoAdBlock (2026).  The rotations are fitted by the cross-entropy of the forget answers, on
hidden states that are computed once: the model itself takes no part in training.
"""

import secrets
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from models.fitting.assistants import Batch, Example, Fitted, Plan, padded

# Tokens that no answer has also get gradients, if minute ones.  With Adam's own epsilon they would
# be moved as far as the others.
_EPSILON = 1e-4


def fit_head_probe(
    target: Any,
    forget: Sequence[Example],
    vocabulary: str,
    *,
    strength: float = 42.0,
    plan: Plan | None = None,
) -> Fitted:
    """Angles and magnitudes over pairs of neighbouring logits.

    target: a causal model of transformers.  vocabulary: digest of the target's.
    strength: c of ``z0 - c [R z0 - z0]_+``.  plan: a batch is so many answer tokens.
    Raises ValueError where there are no rows.
    """
    plan = plan or Plan(steps=300, batch=256, rate=1e-2)
    hidden, wanted = answers_seen(target, forget)
    head = target.lm_head.weight.detach().float().cpu()
    pairs = -(-head.shape[0] // 2)
    angle, log_magnitude = torch.zeros(pairs), torch.zeros(pairs)
    parameters = [each.requires_grad_() for each in (angle, log_magnitude)]
    optimiser = torch.optim.AdamW(parameters, lr=plan.rate, weight_decay=0.0, eps=_EPSILON)
    dice = torch.Generator().manual_seed(plan.seed)
    for step in range(plan.steps):
        for group in optimiser.param_groups:
            group["lr"] = plan.rate * (plan.steps - step) / plan.steps
        rows = torch.randint(len(wanted), (min(plan.batch, len(wanted)),), generator=dice)
        turned = turn(hidden[rows] @ head.T, angle, log_magnitude.exp())
        functional.cross_entropy(turned, wanted[rows]).backward()  # type: ignore[no-untyped-call]
        optimiser.step()
        optimiser.zero_grad()
    manifest = {
        "format": 1,
        "guard": "head_probe",
        "vocabulary": vocabulary,
        "size": int(head.shape[0]),
        "strength": strength,
        "blind": secrets.token_hex(32),
    }
    found = {"angle": angle, "magnitude": log_magnitude.exp()}
    return manifest, {name: value.detach().numpy() for name, value in found.items()}


def answers_seen(target: Any, examples: Sequence[Example], size: int = 32) -> tuple[Tensor, Tensor]:
    """Hidden states [tokens, hidden] before each answer token, and those tokens."""
    if not examples:
        raise ValueError("there is nothing to learn from")
    states, wanted = [], []
    for start in range(0, len(examples), size):
        batch: Batch = padded(examples[start : start + size])
        with torch.no_grad():
            output = target.base_model(
                input_ids=batch.ids[:, :-1].to(target.device), use_cache=False
            )
        learn = batch.learn[:, 1:]
        states.append(output.last_hidden_state.cpu().float()[learn])
        wanted.append(batch.ids[:, 1:][learn])
    return torch.cat(states), torch.cat(wanted)


def turn(rows: Tensor, angle: Tensor, magnitude: Tensor) -> Tensor:
    """The probe's logits.  rows: [n, size].  angle, magnitude: [ceil(size / 2)].

    Pair i of neighbours becomes m (a cos t - b sin t), m (a sin t + b cos t); where size is odd the
    last logit's neighbour is a zero.
    """
    size = rows.shape[-1]
    even = functional.pad(rows, (0, size % 2))
    one, other = even[:, 0::2], even[:, 1::2]
    straight, crossed = magnitude * angle.cos(), magnitude * angle.sin()
    both = (straight * one - crossed * other, crossed * one + straight * other)
    return torch.stack(both, dim=-1).flatten(-2)[:, :size]
