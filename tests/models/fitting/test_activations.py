"""Captured activations against one plain pass for each prompt."""

from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")

from models.fitting.activations import captured, last_rows  # noqa: E402
from models.local_engine import LocalEngine  # noqa: E402

PROMPTS = [[5, 6, 7], [9], [4, 3, 8, 20, 11, 12, 40], [17, 18], [30, 31, 32, 33, 34]]
PLACES = [("layer", 0), ("layer", 1), ("mlp", 1)]


@pytest.fixture(scope="module")
def model(tiny_model: Path) -> Any:
    return LocalEngine.load(tiny_model).model


def alone(model: Any, prompt: list[int]) -> dict[tuple[str, int], Any]:
    """From the model's own record of hidden states, and its layers put together by hand."""
    with torch.inference_mode():
        ids = torch.tensor([prompt])
        # The record's last entry is normed; the entry before a layer is what it is given.
        states = model(ids, output_hidden_states=True).hidden_states
        found = {("layer", 0): states[1][0]}
        layer = model.model.layers[1]
        at = torch.arange(len(prompt))[None]
        rotary = model.model.rotary_emb(states[1], at)
        normed = layer.input_layernorm(states[1])
        causal = torch.full((len(prompt), len(prompt)), -1e9).triu(1)[None, None]
        attended = states[1] + layer.self_attn(normed, rotary, causal)[0]
        middle = layer.post_attention_layernorm(attended)
        key = layer.mlp.act_fn(layer.mlp.gate_proj(middle)) * layer.mlp.up_proj(middle)
        found["mlp", 1] = key[0]
        found["layer", 1] = (attended + layer.mlp.down_proj(key))[0]
    return found


@pytest.mark.parametrize("batch_size", [1, 2, 16])
def test_every_position(model: Any, batch_size: int) -> None:
    parts = list(captured(model, PROMPTS, PLACES, which="all", batch_size=batch_size))
    assert len(parts) == -(-len(PROMPTS) // batch_size)
    for place in PLACES:
        got = torch.cat([part[place] for part in parts])
        expected = torch.cat([alone(model, prompt)[place] for prompt in PROMPTS])
        assert torch.allclose(got, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("batch_size", [1, 3])
def test_the_last_position(model: Any, batch_size: int) -> None:
    got = last_rows(model, PROMPTS, PLACES, batch_size)
    for place in PLACES:
        expected = torch.stack([alone(model, prompt)[place][-1] for prompt in PROMPTS])
        assert got[place].dtype == torch.float32
        assert torch.allclose(got[place], expected, rtol=1e-4, atol=1e-4)


def hooks(model: Any) -> int:
    return sum(len(m._forward_hooks) + len(m._forward_pre_hooks) for m in model.modules())


def test_nothing_is_left_on_the_model(model: Any) -> None:
    before = hooks(model)
    last_rows(model, PROMPTS, PLACES)
    assert hooks(model) == before
