"""Fitted neurons and boxes against their definitions, the paper's bisection among them."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from guards.key_space import KeySpaceDetection  # noqa: E402
from guards.neuron_adjust import NeuronAdjust  # noqa: E402
from models.artifact import ArtifactStore  # noqa: E402
from models.fitting.skills import (  # noqa: E402
    LEAST_STD,
    Moments,
    box,
    chosen_neurons,
    deviations,
    key_space_detection,
    moments,
    neuron_adjust,
)
from models.local_engine import LocalEngine  # noqa: E402

WIDTH = 20


def keys_of(count: int, seed: int) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, WIDTH, generator=generator) * 2 + 5


@pytest.mark.parametrize("cuts", [(), (1,), (3, 4, 30)])
def test_moments_of_pieces_are_those_of_the_whole(cuts: tuple[int, ...]) -> None:
    rows, found = keys_of(40, 1), Moments()
    for part in torch.tensor_split(rows, list(cuts)):
        found.add(part)
    found.add(rows[:0])
    assert np.allclose(found.mean, rows.double().numpy().mean(0), atol=1e-12)
    assert np.allclose(found.std, rows.double().numpy().std(0), atol=1e-12)


def test_moments_far_from_nought_do_not_cancel() -> None:
    rows, found = keys_of(1000, 2).double(), Moments()
    for part in torch.split(rows + 1e7, 10):
        found.add(part)
    assert np.allclose(found.std, rows.numpy().std(0), rtol=1e-6)


def test_what_never_moves_has_the_least_deviation() -> None:
    found = Moments()
    found.add(torch.ones(5, 2))
    assert found.std.tolist() == [LEAST_STD, LEAST_STD]
    with pytest.raises(ValueError, match="no rows"):
        _ = Moments().std


def of_mean(mean: list[float]) -> Moments:
    found = Moments()
    found.add(torch.tensor([mean]))
    return found


def test_neurons_are_chosen_over_all_layers_by_how_much_they_rise() -> None:
    forget = {0: of_mean([1, -9, 3, 0]), 2: of_mean([0, 7, 0, 2]), 3: of_mean([0, 0, 0, 0])}
    retain = {layer: of_mean([0, 0, 0, 0]) for layer in forget}
    got = {layer: part.tolist() for layer, part in chosen_neurons(forget, retain, 25.0).items()}
    assert got == {0: [2], 2: [1, 3]}
    with pytest.raises(ValueError, match="percentage"):
        chosen_neurons(forget, retain, 1.0)


@pytest.mark.parametrize("seed", range(6))
def test_the_closed_form_equals_the_bisection(seed: int) -> None:
    keys = keys_of(30, seed)
    found = box(keys)

    def holds(k: float) -> bool:
        return all(
            bool(((found.mean - k * found.std <= key) & (key <= found.mean + k * found.std)).all())
            for key in keys.double()
        )

    low, high = 0.0, 1e4
    while high - low > 1e-7:
        middle = (low + high) / 2
        low, high = (low, middle) if holds(middle) else (middle, high)
    assert found.k == pytest.approx(high, abs=1e-6)
    assert float(deviations(keys, found.mean, found.std).max()) == found.k


def test_fitted_artifacts_pass_the_guards_checks(tiny_model: Path, tmp_path: Path) -> None:
    model, store = LocalEngine.load(tiny_model).model, ArtifactStore(tmp_path)
    forget = moments(model, [[5, 6, 7], [8, 9]], (0, 1), batch_size=1)
    retain = moments(model, [[15, 16, 17], [18, 19], [20]], (0, 1))
    adjust = store.open(store.put(*neuron_adjust(forget, retain, 5.0, seed=3)))
    NeuronAdjust.check(adjust)
    assert sum(len(adjust.tensors[f"{layer}.neurons"]) for layer in adjust.manifest["layers"]) == 6
    found = box(keys_of(30, 1))
    neutral = [found.mean, found.mean]
    detection = store.open(store.put(*key_space_detection((0, 1), found, 1.4, neutral)))
    KeySpaceDetection.check(detection)
