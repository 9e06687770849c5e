"""A copy of the demo model: rounded, and with an adapter merged, against the adapter at work."""

from pathlib import Path

import numpy as np
import pytest
import torch

from evals.methods.ground import WEIGHTS
from evals.probe import Ask, Probe
from evals.weights.copies import write_copy
from evals.weights.direct import Direct
from evals.weights.rounding import rounded
from models.adapter import MODULES, Base, BoundAdapter, adapters_installed, manifest_of
from models.artifact import Artifact, ArtifactStore
from models.local_engine import LocalEngine

MODEL = WEIGHTS / "demo"
RANK, ALPHA = 2, 6.0


@pytest.fixture(scope="module")
def engine() -> LocalEngine:
    return LocalEngine.load(MODEL)


@pytest.fixture(scope="module")
def adapter(engine: LocalEngine, tmp_path_factory: pytest.TempPathFactory) -> Artifact:
    """Drawn at random, on every module."""
    base, dice = Base.of_config(engine.model.config.to_dict()), np.random.default_rng(0)
    tensors = {}
    for layer in range(base.layers):
        for module, part in MODULES.items():
            wide, out = base.widths(module)
            place = f"layers.{layer}.{part}.{module}"
            tensors[f"{place}.A"] = dice.normal(0, 0.05, (RANK, wide)).astype(np.float32)
            tensors[f"{place}.B"] = dice.normal(0, 0.05, (out, RANK)).astype(np.float32)
    store = ArtifactStore(tmp_path_factory.mktemp("store"))
    return store.open(store.put(manifest_of(tensors, base, "npo", ALPHA), tensors))


def test_a_merged_adapter_does_what_it_does_beside_the_weights(
    engine: LocalEngine, adapter: Artifact, tmp_path: Path
) -> None:
    merged = LocalEngine.load(write_copy(MODEL, tmp_path / "merged", adapter=adapter)).model
    bound = BoundAdapter(
        {
            name.removesuffix(".A"): (
                torch.tensor(half),
                torch.tensor(adapter.tensors[f"{name.removesuffix('.A')}.B"]) * (ALPHA / RANK),
            )
            for name, half in adapter.tensors.items()
            if name.endswith(".A")
        }
    )
    ids = torch.tensor([[5, 300, 17, 900, 41]])
    with torch.inference_mode():
        plain = engine.model(input_ids=ids).logits
        with adapters_installed(engine.model, [bound]):
            beside = engine.model(input_ids=ids).logits
        within = merged(input_ids=ids).logits
    assert torch.allclose(within, beside, atol=1e-3)
    assert not torch.allclose(within, plain, atol=1e-1)


def test_a_rounded_copy_has_rounded_weights_and_is_made_once(
    engine: LocalEngine, tmp_path: Path
) -> None:
    copy = write_copy(MODEL, tmp_path / "four", bits=4)
    place = "layers.0.mlp.up_proj.weight"
    found = LocalEngine.load(copy).model.get_decoder().get_parameter(place)
    expected = rounded(engine.model.get_decoder().get_parameter(place), 4)
    assert torch.allclose(found, expected, atol=1e-6)
    written = (copy / "config.json").stat().st_mtime_ns
    assert write_copy(MODEL, copy, bits=8) == copy
    assert (copy / "config.json").stat().st_mtime_ns == written


def test_weights_answer_directly_as_the_engine_does(engine: LocalEngine) -> None:
    ask = Ask(turns=("Where was Perpetua Thistlewick born?",), max_tokens=12, samples=2)
    [answered] = Direct("it", MODEL).answers([Probe(id="0", group="forget", ask=ask)])
    first, second = answered.conversations
    assert "Vellport" in first[0].text
    assert first == second  # greedy
    with pytest.raises(ValueError, match="one turn"):
        list(Direct("it", MODEL).answers([Probe(id="0", group="f", ask=Ask(turns=("a", "b")))]))
