import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from guards import nearest
from guards.nearest import Nearest


@pytest.fixture(autouse=True)
def several_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "CHUNK", 7)


def drawn(seed: int, *, eight_bits: bool) -> tuple[Nearest, np.ndarray, np.ndarray]:
    dice = np.random.default_rng(seed)
    rows = dice.normal(size=(25, 6)).astype(np.float32)
    if eight_bits:
        rows = np.rint(rows * 30).astype(np.int8)
    queries = dice.normal(size=(3, 6)).astype(np.float32)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    slow = np.array(
        [
            [sum(float(a) * float(b) for a, b in zip(row, query, strict=True)) for query in queries]
            for row in rows
        ]
    )
    lengths = np.array([sum(float(a) ** 2 for a in row) ** 0.5 for row in rows])
    return Nearest(rows), queries, slow / lengths[:, None]


@given(st.integers(0, 500), st.booleans(), st.integers(1, 12))
def test_the_best_are_those_of_one_by_one(seed: int, eight_bits: bool, most: int) -> None:
    index, queries, slow = drawn(seed, eight_bits=eight_bits)
    dice = np.random.default_rng(seed)
    owners = dice.integers(0, 10, 25).astype(np.int32)
    counting = set(dice.choice(10, 6, replace=False).tolist())
    found = index.best(queries, most, owners, counting.__contains__)
    for query in range(3):
        rows = [near.row for near in found if near.query == query]
        highest = {
            owner: max(slow[row, query] for row in range(25) if owners[row] == owner)
            for owner in counting & set(owners.tolist())
        }
        assert {int(owners[row]) for row in rows} <= counting
        assert len({int(owners[row]) for row in rows}) == len(rows) == min(most, len(highest))
        expected = sorted(highest.values(), reverse=True)[: len(rows)]
        assert [slow[row, query] for row in rows] == pytest.approx(expected, abs=1e-5)
    assert all(near.cosine == pytest.approx(slow[near.row, near.query], abs=1e-5) for near in found)


@given(st.integers(0, 500), st.booleans())
def test_all_from_a_cosine_on_are_those_of_one_by_one(seed: int, eight_bits: bool) -> None:
    index, queries, slow = drawn(seed, eight_bits=eight_bits)
    found = {(near.row, near.query) for near in index.from_cosine(queries, 0.3)}
    sure = {tuple(place) for place in np.argwhere(slow >= 0.3 + 1e-5).tolist()}
    possible = {tuple(place) for place in np.argwhere(slow >= 0.3 - 1e-5).tolist()}
    assert sure <= found <= possible


def test_where_there_are_no_rows_nothing_is_near() -> None:
    empty = Nearest(np.zeros((0, 6), np.int8))
    queries = np.eye(2, 6, dtype=np.float32)
    assert empty.best(queries, 3, np.zeros(0, np.int32), lambda owner: True) == []
    assert list(empty.from_cosine(queries, -1)) == []
