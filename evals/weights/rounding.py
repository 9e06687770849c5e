"""Weights as a quantised model has them, kept in full precision: rounded to few bits and back.

Round to nearest, symmetric, one scale for each row of a linear layer, as weight-only quantisation
without calibration does.  Simulated: the numbers are those of the quantised model, speed and memory
are not.  Embeddings, the head and norms stay as they are.
"""

from typing import Any

import torch
from torch import Tensor, nn


def rounded(weight: Tensor, bits: int) -> Tensor:
    """The nearest weights that ``bits`` can hold.  weight: [out, in].  Raises ValueError: bits.

    Row by row: ``scale * round(w / scale)`` with ``scale = max |w| / (2^(bits - 1) - 1)``.
    """
    if not 2 <= bits <= 16:
        raise ValueError(f"weights cannot be rounded to {bits} bits")
    most = 2 ** (bits - 1) - 1
    scale = weight.abs().amax(dim=1, keepdim=True) / most
    scale = torch.where(scale > 0, scale, torch.ones_like(scale))
    return (weight / scale).round().clamp(-most, most) * scale


def round_linears(model: Any, bits: int) -> None:
    """Round every linear layer of the decoder, in place.  model: a Llama of transformers."""
    with torch.no_grad():
        for module in model.get_decoder().layers.modules():
            if isinstance(module, nn.Linear):
                module.weight.copy_(rounded(module.weight, bits))
