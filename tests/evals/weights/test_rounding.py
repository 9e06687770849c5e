"""Rounding by hand, and what it promises."""

import pytest
import torch
from torch import nn

from evals.weights.rounding import round_linears, rounded


def slowly(row: list[float], bits: int) -> list[float]:
    """Each weight to the nearest of the levels, one by one."""
    most = 2 ** (bits - 1) - 1
    largest = max(map(abs, row))
    levels = [largest * level / most for level in range(-most, most + 1)]
    return [min(levels, key=lambda level: abs(level - weight)) for weight in row]


def test_by_hand() -> None:
    weight = torch.tensor([[7.0, -3.4, 0.4, 0.0], [0.0, 0.0, 0.0, 0.0]])
    assert rounded(weight, 4).tolist() == [[7.0, -3.0, 0.0, 0.0], [0.0] * 4]


@pytest.mark.parametrize("bits", [3, 4, 8])
def test_against_the_nearest_of_all_levels(bits: int) -> None:
    weight = torch.randn(5, 33, generator=torch.Generator().manual_seed(bits), dtype=torch.float64)
    found = rounded(weight, bits)
    expected = torch.tensor([slowly(row.tolist(), bits) for row in weight], dtype=torch.float64)
    assert torch.allclose(found, expected, atol=1e-12)
    assert all(len(row.unique()) <= 2**bits - 1 for row in found)
    assert torch.equal(rounded(found, bits), found) or torch.allclose(rounded(found, bits), found)


def test_more_bits_are_nearer() -> None:
    weight = torch.randn(8, 64, generator=torch.Generator().manual_seed(0))
    errors = [float((rounded(weight, bits) - weight).abs().max()) for bits in (2, 4, 8, 12)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.01


@pytest.mark.parametrize("bits", [1, 17])
def test_other_sizes_are_refused(bits: int) -> None:
    with pytest.raises(ValueError, match=f"to {bits} bits"):
        rounded(torch.ones(1, 1), bits)


def test_only_linear_layers_of_the_decoder_are_rounded() -> None:
    class Small(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.layers = nn.ModuleList([nn.ModuleDict({"up": nn.Linear(9, 9, bias=False)})])
            self.embed = nn.Embedding(9, 9)
            self.lm_head = nn.Linear(9, 9, bias=False)

        def get_decoder(self) -> "Small":
            return self

    model = Small()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    round_linears(model, 3)
    changed = {n for n, weight in model.state_dict().items() if not torch.equal(weight, before[n])}
    assert changed == {"layers.0.up.weight"}
