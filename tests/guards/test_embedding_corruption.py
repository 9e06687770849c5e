"""Embedding corruption against slow references, and what it must never do."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.alias_follower import alias_tensors
from guards.case import Case, Match, Prompt, Span
from guards.corruption_functions import FUNCTIONS as TABLE
from guards.embedding_corruption import (
    FUNCTIONS,
    LARGEST,
    NAME,
    EmbeddingCorruption,
    manifest,
)
from guards.points import EngineModel
from guards.registry import guard_class
from guards.vocabulary import Vocabulary
from models.artifact import Artifact, ArtifactStore

torch = pytest.importorskip("torch")

HIDDEN = 16
GUARD = EmbeddingCorruption("sha256:" + "0" * 64)


def made(function: Any, strength: float = 2.0, **options: Any) -> Artifact:
    return Artifact("", {**manifest(function, strength, **options), "tensors": None}, {})


def rows_of(tokens: int, dtype: Any = None) -> Any:
    generator = torch.Generator().manual_seed(tokens)
    return torch.randn(tokens, HIDDEN, generator=generator).to(dtype or torch.float32)


def drawn(value: Any, position: int, stream: int) -> np.random.Generator:
    key = np.array([value["seed"], position], dtype=np.uint64)
    counter = np.array([0, 0, 0, stream], dtype=np.uint64)
    return np.random.Generator(np.random.Philox(key=key, counter=counter))


def chosen(function: str, row: list[float], dims: int, permutation: list[int]) -> list[int]:
    """The dimensions that a function changes, from its name."""
    every = list(range(len(row)))
    orders = {
        "rand_n": permutation,
        "sub_value_top_k": sorted(every, key=lambda d: (-row[d], d)),
        "add_value_least_k": sorted(every, key=lambda d: (row[d], d)),
        "top_k": sorted(every, key=lambda d: (-abs(row[d]), d)),
    }
    order = next((orders[ending] for ending in orders if function.endswith(ending)), every)
    return order[:dims]


def becomes(function: str, row: list[float], at: list[int], value: Any, position: int) -> Any:
    """What the numbers in those dimensions become, from the function's name."""
    first_only = not function.endswith(("top_k", "rand_n", "least_k"))
    noise = drawn(value, position, 0).standard_normal(
        len(at) if first_only else len(row), dtype=np.float32
    )
    order = drawn(value, position, 1).permutation(len(at))
    return {
        "rand": lambda d: row[d] + float(noise[d]) * value["size"],
        "set": lambda d: float(noise[d]) * value["size"],
        "zero": lambda d: 0.0,
        "flip": lambda d: -row[d],
        "sub": lambda d: row[d] - value["size"],
        "add": lambda d: row[d] + value["size"],
        "reverse": lambda d: row[len(at) - 1 - d],
        "shuffle": lambda d: row[order[d]],
    }[function.split("_")[0]]


def reference(rows: Any, positions: list[int], artifact: Artifact, scale: float) -> Any:
    """One number at a time."""
    value = {**artifact.manifest, "size": artifact.manifest["strength"] * scale}
    function = value["function"]
    dims = HIDDEN if value["dims"] is None else min(value["dims"], HIDDEN)
    result = rows.clone()
    for index, position in enumerate(positions):
        row = rows[index].tolist()
        permutation = drawn(value, position, 1).permutation(HIDDEN).tolist()
        at = chosen(function, row, dims, permutation)
        new = becomes(function, row, at, value, position)
        for dim in at:
            result[index, dim] = new(dim)
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
    assert int((got != rows).sum(dim=1).max()) <= (dims or HIDDEN)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_ties_are_broken_alike_in_every_batch(function: str) -> None:
    rows = rows_of(8).sign().to(torch.bfloat16)  # nothing but ties
    artifact = made(function, dims=5, seed=1)
    got = run(rows, list(range(8)), artifact)
    # The dimensions are chosen by the value before the change, and the earlier one goes first.
    expected = reference(rows.float(), list(range(8)), artifact, 0.02).to(torch.bfloat16)
    assert torch.equal(got, expected)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_rows_of_several_requests_share_positions(function: str) -> None:
    artifact, rows = made(function, dims=7, seed=5), rows_of(6)
    got = run(rows, [3, 9, 3, 3, 9, 0], artifact)
    for index, position in enumerate([3, 9, 3, 3, 9, 0]):
        assert torch.equal(
            got[index : index + 1], run(rows[index : index + 1], [position], artifact)
        )
    assert run(rows[:0], [], artifact).shape == (0, HIDDEN)


@pytest.mark.parametrize(
    ("short", "function"),
    [
        ("rand_noise", "rand_noise_first_n"),
        ("zero_out", "zero_out_first_n"),
        ("flip_sign", "flip_sign_first_n"),
    ],
)
def test_short_names_mean_the_first_dimensions(short: str, function: str) -> None:
    rows = rows_of(5)
    for dims in (None, 3):
        got = run(rows, list(range(5)), made(short, dims=dims, seed=8))
        assert torch.equal(got, run(rows, list(range(5)), made(function, dims=dims, seed=8)))


def test_there_are_fourteen_functions_and_three_short_names() -> None:
    assert len(FUNCTIONS) == 17
    assert set(TABLE) == set(FUNCTIONS) - {"rand_noise", "zero_out", "flip_sign"}


def test_noise_is_what_it_always_was() -> None:
    # Stored artifacts must go on meaning the same.
    got = run(torch.zeros(1, 4), [7], made("rand_noise", 1.0, seed=3), scale=1.0)
    key = np.array([3, 7], dtype=np.uint64)
    old = np.random.Generator(np.random.Philox(key=key)).standard_normal(4, dtype=np.float32)
    assert got[0].tolist() == old.tolist()


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
    assert bool(got.isfinite().all())
    rounding = 1 + 2.0**-7
    assert float(got.float().norm(dim=1).max()) <= LARGEST * rounding


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
@pytest.mark.parametrize("function", FUNCTIONS)
def test_what_is_left_alone_keeps_every_bit(function: str, dtype: str) -> None:
    rows = rows_of(9, getattr(torch, dtype))
    rows[0, :] = -0.0
    artifact = made(function, dims=4)
    got = run(rows, list(range(9)), artifact)
    for index in range(9):
        order = drawn(artifact.manifest, index, 1).permutation(HIDDEN).tolist()
        left = sorted(set(range(HIDDEN)) - set(chosen(function, rows[index].tolist(), 4, order)))
        width = torch.int32 if dtype == "float32" else torch.int16
        assert torch.equal(got[index, left].view(width), rows[index, left].view(width))


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
        {"format": 3},
        {"format": True},
        {"format": [1]},
        {"blind": "0" * 64},
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
        with pytest.raises(ValueError, match="not an embedding"):
            EmbeddingCorruption.check(Artifact("", value, {}))


ALIASES = ("Vorn Castellane", "Castellane")


@pytest.fixture(scope="module")
def persistent() -> Artifact:
    manifest_ = {**manifest("rand_noise", 5.0, persistent=True), "tensors": "sha256:"}
    return Artifact("", manifest_, alias_tensors(ALIASES))


def model_with(*pieces: bytes) -> EngineModel:
    vocabulary = Vocabulary(pieces, frozenset(), len(pieces))
    return EngineModel(2, 0.02, vocabulary, torch.device("cpu"), torch.float32)


def test_with_aliases_the_answer_is_followed(persistent: Artifact) -> None:
    EmbeddingCorruption.check(persistent)
    follower = EmbeddingCorruption.follower(persistent, model_with(b"by", b" Castel", b"lane"))
    assert follower is not None
    assert follower.covers(np.array([0, 1, 2, 0]), 0).tolist() == [False, True, True, False]


def test_without_aliases_only_the_prompt_is_corrupted() -> None:
    assert EmbeddingCorruption.follower(made("rand_noise"), model_with(b"by")) is None


def test_rows_are_corrupted_alike_with_and_without_aliases(persistent: Artifact) -> None:
    rows = rows_of(5)
    assert torch.equal(
        run(rows, list(range(5)), persistent), run(rows, list(range(5)), made("rand_noise", 5.0))
    )


def test_no_two_artifacts_with_aliases_are_equal() -> None:
    one, other = (manifest("zero_out", 1.0, persistent=True) for _ in range(2))
    assert one["blind"] != other["blind"]


def test_aliases_can_be_kept_sealed_only(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, b"k" * 32)
    digest = store.put(
        manifest("shuffle", 1.0, persistent=True), alias_tensors(ALIASES), sealed=True
    )
    EmbeddingCorruption.check(store.open(digest))
    kept = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"shuffle" not in kept


@pytest.mark.parametrize("blind", [None, 7, "", "0" * 63, "G" * 64, "A" * 64, ["0"] * 64])
def test_a_blind_that_hides_nothing_is_refused(persistent: Artifact, blind: object) -> None:
    value = {**persistent.manifest, "blind": blind}
    with pytest.raises(ValueError, match="blind"):
        EmbeddingCorruption.check(Artifact("", value, persistent.tensors))


def test_tensors_must_be_those_of_the_format(persistent: Artifact) -> None:
    with pytest.raises(ValueError, match="no tensors"):
        EmbeddingCorruption.check(Artifact("", made("shuffle").manifest, persistent.tensors))
    with pytest.raises(ValueError, match="other tensors"):
        EmbeddingCorruption.check(Artifact("", persistent.manifest, {}))


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
