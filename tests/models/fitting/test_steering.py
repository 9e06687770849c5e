"""Fitted directions, maps and conditions against their definitions, written out in full."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch")

from guards.points import EngineModel, Memory, Site, Visit  # noqa: E402
from guards.steering import Steering  # noqa: E402
from guards.vocabulary import Vocabulary  # noqa: E402
from models.artifact import Artifact, ArtifactStore  # noqa: E402
from models.fitting.steering import (  # noqa: E402
    Condition,
    Step,
    best_threshold,
    condition_basis,
    map_read,
    mean_difference,
    null_space_projector,
    shares,
    steering,
    unit,
    unknown_entity_directions,
)
from models.local_engine import LocalEngine  # noqa: E402

HIDDEN = 24


def rows_of(count: int, seed: int, rank: int = HIDDEN) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, rank, generator=generator) @ torch.randn(
        rank, HIDDEN, generator=generator
    )


def test_the_difference_of_means() -> None:
    one, other = rows_of(5, 1), rows_of(9, 2)
    expected = [float(sum(one[:, d]) / 5 - sum(other[:, d]) / 9) for d in range(HIDDEN)]
    assert mean_difference(one, other).tolist() == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("ratio", [0.1, 0.5, 1.0])
def test_the_projector_leaves_what_retained_rows_do_not_use(ratio: float) -> None:
    retain = rows_of(100, 3)
    projector = null_space_projector(retain, ratio)
    count = int(ratio * HIDDEN)
    wide = retain.double().numpy()
    vectors = np.linalg.svd(wide.T @ wide)[2][HIDDEN - count :]
    assert np.allclose(projector.numpy(), vectors.T @ vectors, atol=1e-8)
    assert torch.allclose(projector @ projector, projector, atol=1e-10)


@pytest.mark.parametrize("ratio", [0.01, 1.2])
def test_the_ratio_must_leave_some_directions(ratio: float) -> None:
    with pytest.raises(ValueError, match="ratio"):
        null_space_projector(rows_of(10, 1), ratio)


@pytest.mark.parametrize("ridge", [0.1, 10.0])
@pytest.mark.parametrize("ratio", [0.3, 0.8])
def test_rank_one_equals_the_full_matrix(ridge: float, ratio: float) -> None:
    forget, direction = rows_of(12, 5), rows_of(1, 6)[0].double()
    projector = null_space_projector(rows_of(60, 4), ratio)
    inputs = forget.double() @ projector
    system = inputs.T @ inputs + ridge * projector.T @ projector
    targets = direction.repeat(len(forget), 1)
    full = projector @ torch.linalg.pinv(system) @ inputs.T @ targets
    assert int(torch.linalg.matrix_rank(full, rtol=1e-8)) == 1
    read = map_read(forget, projector, ridge)
    assert torch.allclose(torch.outer(read, direction), full, rtol=1e-6, atol=1e-8)


def test_a_map_moves_what_is_forgotten_and_not_what_is_retained() -> None:
    retain, forget = rows_of(60, 4, rank=10), rows_of(12, 5)
    read = map_read(forget, null_space_projector(retain, 0.5), 1e-4)
    assert (retain.double() @ read).abs().max() < 1e-4
    assert (forget.double() @ read - 1).abs().max() < 0.1


@pytest.mark.parametrize(("how", "rank"), [("pca", 1), ("pca", 3), ("mean", 1)])
def test_a_condition_parts_two_kinds_of_rows(how: Any, rank: int) -> None:
    apart = 30 * unit(rows_of(1, 9)[0])
    one, other = rows_of(40, 7).double() + apart, rows_of(40, 8).double()
    basis = condition_basis(one, other, rank, how)
    assert torch.allclose(basis @ basis.T, torch.eye(rank).double(), atol=1e-10)
    found = best_threshold(shares(one, basis), shares(other, basis))
    assert found.balanced > 0.9
    assert found.above


def test_the_principal_directions_are_those_of_the_centred_rows() -> None:
    one, other = rows_of(20, 7), rows_of(30, 8)
    centred = torch.cat([one, other]).double()
    centred -= (one.double().mean(0) + other.double().mean(0)) / 2
    _, vectors = torch.linalg.eigh(centred.T @ centred)
    expected = vectors[:, -2:]
    basis = condition_basis(one, other, 2)
    assert torch.allclose(basis.T @ basis, expected @ expected.T, atol=1e-8)


def test_shares_are_cosines_with_the_projection() -> None:
    rows, basis = rows_of(5, 1).double(), condition_basis(rows_of(9, 2), rows_of(9, 3), 2)
    for row, share in zip(rows, shares(rows, basis), strict=True):
        projected = sum((row @ b) * b for b in basis)
        assert float(share) == pytest.approx(
            float(torch.cosine_similarity(row, projected, dim=0)), abs=1e-12
        )


@pytest.mark.parametrize("seed", range(8))
def test_no_threshold_is_better(seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    one = torch.rand(7, generator=generator) * (1.5 if seed % 2 else 0.7)
    other = torch.rand(9, generator=generator)
    found = best_threshold(one, other)
    for value in np.linspace(0, 1.5, 3001):
        over = float((one > value).double().mean() + (other <= value).double().mean()) / 2
        assert max(over, 1 - over) <= found.balanced + 1e-12
    right = (one > found.value) == found.above
    wrong = (other > found.value) == found.above
    assert float(right.double().mean() + 1 - wrong.double().mean()) / 2 == pytest.approx(
        found.balanced
    )


def test_alike_rows_have_no_threshold() -> None:
    with pytest.raises(ValueError, match="alike"):
        best_threshold(torch.ones(3), torch.ones(2))


def test_a_fitted_artifact_passes_the_guard_s_check(tiny_model: Path, tmp_path: Path) -> None:
    engine = LocalEngine.load(tiny_model)
    known, unknown = [[5, 6, 7], [5, 9, 7]], [[5, 16, 7], [5, 19, 30, 7]]
    directions = unknown_entity_directions(engine.model, known, unknown, (0, 1))
    wide = directions[0].shape[0]
    rows = torch.randn(50, wide, generator=torch.Generator().manual_seed(1))
    read = map_read(rows[:9], null_space_projector(rows, 0.5), 0.1)
    basis = condition_basis(rows[:20], rows[20:], 2)
    steps = [
        Step("add", (0, 1), directions, condition=Condition([basis], 0.2, layer=0)),
        Step("ablate", (1,), directions[1:], condition=Condition([basis], 0.9, above=False)),
        Step("map", (0, 1), directions, reads=[read, read], last_prompt_token=True),
    ]
    store = ArtifactStore(tmp_path)
    artifact = store.open(store.put(*steering(steps, prompt=False)))
    Steering.check(artifact)
    where = EngineModel(2, 1.0, Vocabulary((), frozenset(), 0), rows.device, torch.float32)
    bound = Steering.bind(artifact, where)
    visit = Visit(Site("layer", 0), np.arange(3), np.zeros(3, np.int64), [Memory(2)])
    got = bound.apply(rows[:3], visit)
    assert torch.equal(got[:2], rows[:2])
    gate = float(rows[1].double() @ read)
    acts = bool(shares(rows[1:2], basis) > 0.2)
    expected = rows[2].double() + directions[0] * (acts + gate)
    assert torch.allclose(got[2].double(), expected, rtol=1e-3, atol=1e-3)


def test_a_direction_must_have_a_length() -> None:
    with pytest.raises(ValueError, match="length"):
        unit(torch.zeros(3))


def test_a_plain_artifact_is_a_tuple_of_manifest_and_tensors() -> None:
    manifest, tensors = steering([Step("ablate", (1,), [torch.ones(HIDDEN)])])
    artifact = Artifact("", {**manifest, "tensors": None}, tensors)
    Steering.check(artifact)
    assert np.linalg.norm(tensors["0.vector"]) == pytest.approx(1)
