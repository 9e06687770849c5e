"""What steering is fitted to: last prompt tokens of questions about a subject, and others."""

from collections.abc import Sequence

from torch import Tensor

from evals.methods.material import Ids, Material
from models.fitting.activations import Place, last_rows
from models.fitting.steering import mean_difference


def rows(material: Material, prompts: Sequence[Ids], layers: Sequence[int]) -> dict[int, Tensor]:
    """By layer, the residual stream after it at each prompt's last token: [prompts, hidden]."""
    places: list[Place] = [("layer", layer) for layer in layers]
    found = last_rows(material.model, prompts, places)
    return {layer: found["layer", layer] for layer in layers}


def toward_strangers(material: Material, label: str, layers: Sequence[int]) -> dict[int, Tensor]:
    """By layer, [hidden]: the subject's questions about strangers, less those about it."""
    pair = material.strange(label)
    to, away_from = (rows(material, prompts, layers) for prompts in (pair.strange, pair.known))
    return {layer: mean_difference(to[layer], away_from[layer]) for layer in layers}


def middle(material: Material) -> tuple[int, ...]:
    """The two layers in the middle of the model, counted from 0."""
    half = material.engine.layers // 2
    return (half - 1, half)
