"""Steering: where the answer begins, from the subject toward strangers, past everybody else.

Sources: MLLMEraser (arXiv 2510.04217) and AlphaSteer for the null-space map, kept rank-1.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from guards.policy import GuardSpec
from guards.steering import NAME
from models.fitting.activations import last_rows
from models.fitting.steering import (
    Step,
    map_read,
    null_space_projector,
    steering,
    unknown_entity_directions,
)
from service.compiler.candidates.candidate import Candidate, Ground

RATIO, RIDGE = 0.3, 0.1  # MLLMEraser's


def steered(ground: Ground, base: Candidate | None = None, strength: float = 1.0) -> Candidate:
    """A map at the last prompt token, after the layer in the middle; behind the base's guards."""
    model = ground.served.engine.model
    layer = ground.served.engine.layers // 2
    asked = [probe.prompt for probe in ground.sheet.about]
    known = [ground.chat(prompt) for prompt in asked]
    strange = [
        ground.chat(stranger.in_place(prompt))
        for stranger in ground.surrogate.strangers
        for prompt in asked
    ]
    (direction,) = unknown_entity_directions(model, known, strange, (layer,))
    kept = [ground.chat(probe.prompt) for probe in ground.sheet.near]
    projector = null_space_projector(_rows(model, kept, layer), RATIO)
    read = map_read(_rows(model, known, layer), projector, RIDGE)
    step = Step("map", (layer,), [direction], strength, reads=[read], last_prompt_token=True)
    digest = ground.put(*steering([step], generated=False), sealed=False)
    spec = GuardSpec(NAME, {"artifact": digest, "prompt": "last"})
    if base is None:
        return Candidate("steering", (spec,))
    return Candidate(f"{base.name}, steering", (*base.guards, spec))


def _rows(model: object, prompts: Sequence[Sequence[int]], layer: int) -> Tensor:
    rows: Tensor = last_rows(model, prompts, [("layer", layer)])["layer", layer]
    return rows if len(rows) else torch.zeros(1, rows.shape[-1])
