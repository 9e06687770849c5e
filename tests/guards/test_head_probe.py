"""The head probe against a slow reference, and what it must never do."""

import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.case import Case, Match, Prompt, Span
from guards.head_probe import NAME, BoundProbe, HeadProbe
from guards.points import EngineModel, History
from guards.registry import guard_class
from guards.vocabulary import Vocabulary
from models.artifact import Artifact

torch = pytest.importorskip("torch")

ENDS = frozenset({3})


def model_of(size: int) -> EngineModel:
    pieces = (b"", *(bytes([65 + i % 50]) for i in range(size - 1)))
    vocabulary = Vocabulary(pieces, ENDS, size)
    return EngineModel(2, 0.02, vocabulary, torch.device("cpu"), torch.float32)


def made(size: int, logits: int | None = None, /, **changes: Any) -> Artifact:
    dice, pairs = np.random.default_rng(size), -(-size // 2)
    value = {
        "format": 1,
        "guard": NAME,
        "vocabulary": model_of(logits or size).vocabulary.digest,
        "size": size,
        "strength": 42.0,
        "blind": "ab" * 32,
        "tensors": "sha256:" + "0" * 64,
    }
    tensors = {
        "angle": dice.standard_normal(pairs).astype(np.float32),
        "magnitude": (1 + 0.3 * dice.standard_normal(pairs)).astype(np.float32),
    }
    return Artifact("", {**value, **changes}, tensors)


def bound(artifact: Artifact, logits: int) -> BoundProbe:
    HeadProbe.check(artifact)
    return HeadProbe.bind(artifact, model_of(logits))


def logits_of(rows: int, size: int) -> Any:
    return torch.randn(rows, size, generator=torch.Generator().manual_seed(size)) * 3


def histories_of(rows: int) -> list[History]:
    return [History(f"r{i}", [1], []) for i in range(rows)]


def log_sum(values: list[float]) -> float:
    return math.log(sum(math.exp(value) for value in values))


def reference(artifact: Artifact, row: list[float]) -> list[float]:
    """One pair at a time; then the free tokens share what mass they had."""
    size, new = artifact.manifest["size"], list(row)
    for pair in range(-(-size // 2)):
        turn, stretch = (float(artifact.tensors[n][pair]) for n in ("angle", "magnitude"))
        at, beside = 2 * pair, 2 * pair + 1
        one, other = row[at], row[beside] if beside < size else 0.0
        up = stretch * (math.cos(turn) * one - math.sin(turn) * other)
        new[at] -= 42.0 * max(0.0, up - one)
        if beside < size:
            up = stretch * (math.sin(turn) * one + math.cos(turn) * other)
            new[beside] -= 42.0 * max(0.0, up - other)
    fixed = {0, *ENDS}
    free = [token for token in range(len(row)) if token not in fixed]
    shift = log_sum([row[t] for t in free]) - log_sum([new[t] for t in free])
    return [value if t in fixed else new[t] + shift for t, value in enumerate(row)]


@pytest.mark.parametrize(("size", "logits"), [(12, 12), (13, 13), (13, 16), (1, 5)])
def test_equals_the_reference(size: int, logits: int) -> None:
    artifact, rows = made(size, logits), logits_of(4, logits)
    before = rows.clone()
    bound(artifact, logits).apply(rows, histories_of(4))
    for row, old in zip(rows.tolist(), before.tolist(), strict=True):
        assert row == pytest.approx(reference(artifact, old), abs=1e-3)
    fixed = [0, *ENDS]
    assert torch.equal(rows[:, fixed], before[:, fixed])
    assert torch.allclose(rows.softmax(-1)[:, fixed], before.softmax(-1)[:, fixed], atol=1e-6)


def test_padding_beyond_what_was_fitted_is_not_turned() -> None:
    rows = logits_of(1, 16)
    before = rows.clone()
    bound(made(11, 16), 16).apply(rows, histories_of(1))
    moved = (rows - before)[0, 11:]
    assert torch.allclose(moved, moved[:1].expand(5), atol=1e-4), "all moved as one"


def test_without_a_turn_nothing_changes() -> None:
    artifact = made(12)
    still = {"angle": np.zeros(6, np.float32), "magnitude": np.ones(6, np.float32)}
    rows = logits_of(3, 12)
    before = rows.clone()
    bound(Artifact("", artifact.manifest, still), 12).apply(rows, histories_of(3))
    assert torch.allclose(rows, before, atol=1e-6)


@given(data=st.data())
@settings(max_examples=40, deadline=None)
def test_what_is_ruled_out_stays_so_and_counts_for_nothing(data: st.DataObject) -> None:
    rows = logits_of(2, 12)
    for row in range(2):
        rows[row, sorted(data.draw(st.sets(st.integers(0, 11))))] = -math.inf
    ruled_out = rows.isneginf()
    bound(made(12), 12).apply(rows, histories_of(2))
    assert torch.equal(rows.isneginf(), ruled_out)
    assert not bool(rows.isnan().any())


def test_a_batch_is_its_rows() -> None:
    edit, rows = bound(made(12), 12), logits_of(5, 12)
    together = rows.clone()
    edit.apply(together, histories_of(5))
    for at in range(5):
        alone = rows[at : at + 1].clone()
        edit.apply(alone, histories_of(1))
        assert torch.allclose(alone[0], together[at], atol=1e-5)
    edit.forget("r0")


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"guard": "other"},
        {"size": 0},
        {"size": 11.0},
        {"size": 20},
        {"strength": 0},
        {"strength": float("nan")},
        {"strength": "42"},
        {"vocabulary": 1},
        {"blind": None},
        {"more": 1},
    ],
)
def test_an_artifact_that_cannot_be_applied_is_refused(change: dict[str, Any]) -> None:
    HeadProbe.check(made(12))
    with pytest.raises(ValueError, match=r"."):
        HeadProbe.check(made(12, **change))


def test_a_probe_of_another_vocabulary_is_refused() -> None:
    with pytest.raises(ValueError, match="vocabulary"):
        HeadProbe.bind(made(12), model_of(14))
    with pytest.raises(ValueError, match="output layer"):
        HeadProbe.bind(made(14, vocabulary=model_of(12).vocabulary.digest), model_of(12))


def test_it_leaves_an_edit_without_positions_and_is_registered() -> None:
    prompt = Prompt("ab", (1, 2), (Span(0, 1), Span(1, 2)), (Span(0, 2),))
    case = Case("c", "t", "m", 1, prompt)
    edited = HeadProbe("sha256:" + "0" * 64).on_prompt(case, Match("p", 1.0, (), "alias"))
    assert [(edit.guard, edit.positions) for edit in edited.edits] == [(NAME, ())]
    assert guard_class(NAME) is HeadProbe
