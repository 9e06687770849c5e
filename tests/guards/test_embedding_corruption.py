"""Embedding corruption against slow references, and what it must never do."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.case import Case, Match, Prompt, Span
from guards.embedding_corruption import (
    FUNCTIONS,
    LARGEST,
    NAME,
    EmbeddingCorruption,
    manifest,
)
from guards.registry import guard_class
from models.artifact import Artifact

torch = pytest.importorskip("torch")

HIDDEN = 16
GUARD = EmbeddingCorruption("sha256:" + "0" * 64)


def made(function: Any, strength: float = 2.0, **options: Any) -> Artifact:
    return Artifact("", {**manifest(function, strength, **options), "tensors": None}, {})


def rows_of(tokens: int, dtype: Any = None) -> Any:
    generator = torch.Generator().manual_seed(tokens)
    return torch.randn(tokens, HIDDEN, generator=generator).to(dtype or torch.float32)


def reference(rows: Any, positions: list[int], artifact: Artifact, scale: float) -> Any:
    """One number at a time."""
    value = artifact.manifest
    dims = HIDDEN if value["dims"] is None else min(value["dims"], HIDDEN)
    result = rows.clone()
    for row, position in enumerate(positions):
        key = np.array([value["seed"], position], dtype=np.uint64)
        noise = np.random.Generator(np.random.Philox(key=key)).standard_normal(dims, np.float32)
        for dim in range(dims):
            old = float(rows[row, dim])
            result[row, dim] = {
                "rand_noise": old + float(noise[dim]) * value["strength"] * scale,
                "zero_out": 0.0,
                "flip_sign": -old,
            }[value["function"]]
    return result


def run(rows: Any, positions: list[int], artifact: Artifact, scale: float = 0.02) -> Any:
    at = np.array(positions, dtype=np.int64)
    return EmbeddingCorruption.on_embedding(rows, at, artifact, scale)


@pytest.mark.parametrize("function", FUNCTIONS)
@given(
    positions=st.lists(st.integers(0, 2**40), min_size=1, max_size=6, unique=True),
    dims=st.none() | st.integers(1, 2 * HIDDEN),
    strength=st.floats(0.01, 100.0),
    seed=st.integers(0, 2**64 - 1),
)
@settings(max_examples=40, deadline=None)
def test_equals_the_reference(
    function: str, positions: list[int], dims: int | None, strength: float, seed: int
) -> None:
    artifact, rows = made(function, strength, dims=dims, seed=seed), rows_of(len(positions))
    before = rows.clone()
    got = run(rows, positions, artifact)
    assert torch.allclose(got, reference(rows, positions, artifact, 0.02), rtol=1e-5, atol=1e-6)
    assert torch.equal(rows, before), "the caller's rows were written"
    assert torch.equal(got[:, dims or HIDDEN :], rows[:, dims or HIDDEN :])


@pytest.mark.parametrize("function", FUNCTIONS)
@given(cuts=st.sets(st.integers(1, 11)), data=st.permutations(range(12)))
@settings(max_examples=40, deadline=None)
def test_any_chunks_in_any_order_give_the_same_rows(
    function: str, cuts: set[int], data: list[int]
) -> None:
    artifact, rows = made(function, seed=3), rows_of(12)
    whole = run(rows, list(range(100, 112)), artifact)
    pieces = np.split(np.array(data), sorted(cuts))
    for piece in pieces:
        part = run(rows[piece], [100 + int(i) for i in piece], artifact)
        assert torch.equal(part, whole[piece])


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_the_result_is_finite_and_bounded_in_every_dtype(function: str, dtype: str) -> None:
    rows = rows_of(4, getattr(torch, dtype))
    rows[0, 0], rows[1, 1] = float("inf"), float("nan")
    rows[2, 2] = torch.finfo(rows.dtype).max
    got = run(rows, [0, 1, 2, 3], made(function, 1e9), scale=1e3)
    assert got.dtype == rows.dtype
    assert got.shape == rows.shape
    assert float(got.float().abs().max()) <= LARGEST


def test_noise_has_the_wanted_size_and_differs_by_position_and_seed() -> None:
    rows = torch.zeros(2000, HIDDEN)
    positions = list(range(2000))
    noise = run(rows, positions, made("rand_noise", 4.0, seed=1), scale=0.5)
    assert float(noise.std()) == pytest.approx(2.0, rel=0.02)
    assert float(noise.mean()) == pytest.approx(0.0, abs=0.05)
    assert len({tuple(row) for row in noise.tolist()}) == 2000
    other = run(rows, positions, made("rand_noise", 4.0, seed=2), scale=0.5)
    assert not bool((noise == other).all(dim=1).any())


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"guard": "other"},
        {"function": "explode"},
        {"function": ["rand_noise"]},
        {"dims": 0},
        {"dims": -1},
        {"dims": 1.5},
        {"dims": True},
        {"strength": 0},
        {"strength": -1.0},
        {"strength": float("nan")},
        {"strength": float("inf")},
        {"strength": "5"},
        {"strength": None},
        {"strength": 1e10},
        {"seed": -1},
        {"seed": 2**64},
        {"seed": 0.5},
        {"unknown": 1},
    ],
)
def test_an_artifact_that_cannot_be_applied_is_refused(change: dict[str, Any]) -> None:
    EmbeddingCorruption.check(made("rand_noise"))
    with pytest.raises(ValueError, match=r"."):
        EmbeddingCorruption.check(Artifact("", {**made("rand_noise").manifest, **change}, {}))


def test_a_manifest_that_lacks_a_field_is_refused() -> None:
    for name in made("rand_noise").manifest:
        value = {k: v for k, v in made("rand_noise").manifest.items() if k != name}
        with pytest.raises(ValueError, match="format 1"):
            EmbeddingCorruption.check(Artifact("", value, {}))


def case_of(text: str, content: tuple[Span, ...]) -> Case:
    """One token for each character."""
    offsets = tuple(Span(i, i + 1) for i in range(len(text)))
    prompt = Prompt(text, tuple(range(len(text))), offsets, content)
    return Case("c", "tenant", "model", 1, prompt)


def positions_for(case: Case, *spans: Span) -> tuple[Span, ...]:
    (edit,) = GUARD.on_prompt(case, Match("p", 1.0, spans, "alias")).edits
    assert (edit.guard, edit.artifact) == (NAME, GUARD.artifact)
    return edit.positions


def test_the_match_is_corrupted_and_nothing_else() -> None:
    case = case_of("<user>Who is Ada?</user>", (Span(6, 17),))
    assert positions_for(case, Span(13, 16)) == (Span(13, 16),)


@pytest.mark.parametrize("spans", [(), (Span(5, 5),), (Span(90, 95),)])
def test_a_match_that_points_nowhere_corrupts_all_content(spans: tuple[Span, ...]) -> None:
    case = case_of("<user>Who is she?</user>", (Span(6, 17),))
    assert positions_for(case, *spans) == (Span(6, 17),)


def test_without_content_the_whole_prompt_is_corrupted() -> None:
    assert positions_for(case_of("abc", ())) == (Span(0, 3),)


def test_it_is_registered() -> None:
    assert guard_class(NAME) is EmbeddingCorruption
