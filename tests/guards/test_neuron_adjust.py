"""Neuron Adjust against the published rule, one neuron of one row at a time."""

import copy
import itertools
import math
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.case import Case, Match, Prompt, Span
from guards.neuron_adjust import NAME, NeuronAdjust, philox, uniform
from guards.points import EngineModel, Memory, Site, Visit
from guards.registry import guard_class
from guards.vocabulary import Vocabulary
from models.artifact import Artifact

torch = pytest.importorskip("torch")

WIDTH, LAYERS = 16, 4
DIGEST = "sha256:" + "0" * 64
MODEL = EngineModel(
    LAYERS, 0.02, Vocabulary((), frozenset(), 0), torch.device("cpu"), torch.float32
)


def made(*, seed: int = 5, compat_std: bool = False) -> Artifact:
    dice = np.random.default_rng(2)
    tensors: dict[str, Any] = {}
    for layer, chosen in ((1, [0, 3, 7, 8]), (2, [15])):
        tensors[f"{layer}.neurons"] = np.array(chosen, np.int64)
        for kind in ("forget", "retain"):
            mean, std = dice.standard_normal(len(chosen)), dice.uniform(0.3, 2.0, len(chosen))
            tensors[f"{layer}.{kind}_mean"] = mean.astype(np.float32)
            tensors[f"{layer}.{kind}_std"] = std.astype(np.float32)
    manifest = {
        "format": 1,
        "guard": NAME,
        "layers": [1, 2],
        "seed": seed,
        "compat_std": compat_std,
        "tensors": DIGEST,
    }
    artifact = Artifact(DIGEST, manifest, tensors)
    NeuronAdjust.check(artifact)
    return artifact


def density(x: float, mean: float, std: float) -> float:
    """Of the normal distribution, with whatever sign the deviation has."""
    return math.exp(-((x - mean) ** 2) / (2 * std**2)) / (std * math.sqrt(2 * math.pi))


def reference(rows: Any, positions: list[int], layer: int, artifact: Artifact) -> Any:
    value, tensors, result = artifact.manifest, artifact.tensors, rows.clone()
    for row, position in enumerate(positions):
        drawn = slow_uniform(value["seed"], position, layer)
        for at, neuron in enumerate(tensors[f"{layer}.neurons"]):
            mu_f, s_f, mu_r, s_r = (
                float(tensors[f"{layer}.{name}"][at])
                for name in ("forget_mean", "forget_std", "retain_mean", "retain_std")
            )
            s_f = mu_f if value["compat_std"] else s_f
            x = float(rows[row, neuron])
            pf, pr = density(x, mu_f, s_f), density(x, mu_r, s_r)
            if pf >= pr and drawn >= pr / (pr + pf):
                result[row, neuron] = mu_r - s_r * (x - mu_f) / s_f
    return result


def slow_uniform(seed: int, position: int, layer: int) -> float:
    words, key = [position % 2**32, position >> 32, layer, 0], [seed % 2**32, seed >> 32]
    for _ in range(10):
        one, two = words[0] * 0xD2511F53, words[2] * 0xCD9E8D57
        words = [
            (two >> 32) ^ words[1] ^ key[0],
            two % 2**32,
            (one >> 32) ^ words[3] ^ key[1],
            one % 2**32,
        ]
        key = [(key[0] + 0x9E3779B9) % 2**32, (key[1] + 0xBB67AE85) % 2**32]
    return float((words[0] << 32 | words[1]) >> 11) / 2**53


def rows_of(tokens: int, seed: int = 0) -> Any:
    generator = torch.Generator().manual_seed(seed)
    return 1.5 * torch.randn(tokens, WIDTH, generator=generator)


def run(rows: Any, positions: list[int], artifact: Artifact, layer: int = 1) -> Any:
    owners = np.zeros(len(positions), np.int64)
    visit = Visit(Site("mlp", layer), np.array(positions), owners, [Memory(3)])
    return NeuronAdjust.bind(artifact, MODEL).apply(rows, visit)


@given(
    positions=st.lists(st.integers(0, 2**40), min_size=1, max_size=9, unique=True),
    seed=st.integers(0, 2**64 - 1),
    compat_std=st.booleans(),
    layer=st.sampled_from((1, 2)),
)
@settings(max_examples=60, deadline=None)
def test_equals_the_reference(
    positions: list[int], seed: int, compat_std: bool, layer: int
) -> None:
    artifact, rows = made(seed=seed, compat_std=compat_std), rows_of(len(positions), seed % 1000)
    before = rows.clone()
    got = run(rows, positions, artifact, layer)
    assert torch.allclose(got, reference(rows, positions, layer, artifact), atol=1e-4)
    assert torch.equal(rows, before), "the caller's rows were written"
    others = np.setdiff1d(np.arange(WIDTH), artifact.tensors[f"{layer}.neurons"])
    assert torch.equal(got[:, others], rows[:, others])


def test_something_is_adjusted_and_something_is_left() -> None:
    rows = rows_of(200)
    changed = (run(rows, list(range(200)), made()) != rows)[:, [0, 3, 7, 8]].float().mean()
    assert 0.05 < changed < 0.95


def test_the_released_deviation_is_another_one() -> None:
    rows, positions = rows_of(200), list(range(200))
    right, released = run(rows, positions, made()), run(rows, positions, made(compat_std=True))
    assert not torch.allclose(right, released)
    below = [at for at, mean in enumerate(made().tensors["1.forget_mean"]) if mean < 0]
    neurons = made().tensors["1.neurons"][below]
    assert len(neurons)
    assert torch.equal(released[:, neurons], rows[:, neurons]), "a density below 0 wins nothing"


@given(cuts=st.sets(st.integers(1, 11)), data=st.permutations(range(12)))
@settings(max_examples=40, deadline=None)
def test_batches_and_chunks_make_no_difference(cuts: set[int], data: list[int]) -> None:
    artifact, rows = made(), rows_of(12)
    whole = run(rows, list(range(12)), artifact)
    edges = [0, *sorted(cuts), 12]
    pieces = [run(rows[a:b], list(range(a, b)), artifact) for a, b in itertools.pairwise(edges)]
    assert torch.equal(torch.cat(pieces), whole)
    assert torch.equal(run(rows[data], data, artifact), whole[data])


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_keep_their_dtype(dtype: Any) -> None:
    rows = rows_of(50).to(dtype)
    got = run(rows, list(range(50)), made())
    assert got.dtype == dtype
    assert got.isfinite().all()
    assert not torch.equal(got, rows)


# --- chance --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("counter", "key", "words"),
    [
        ((0, 0, 0, 0), (0, 0), (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
        (
            (0xFFFFFFFF,) * 4,
            (0xFFFFFFFF,) * 2,
            (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD),
        ),
        (
            (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
            (0xA4093822, 0x299F31D0),
            (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
        ),
    ],
)
def test_philox_equals_its_authors_vectors(
    counter: tuple[int, ...], key: tuple[int, int], words: tuple[int, ...]
) -> None:
    got = philox([np.array([word], np.uint64) for word in counter], key)
    assert [int(word[0]) for word in got] == list(words)


@given(
    seed=st.integers(0, 2**64 - 1),
    positions=st.lists(st.integers(0, 2**50), min_size=1, max_size=5),
    layer=st.integers(0, 200),
)
def test_uniform_equals_plain_integers(seed: int, positions: list[int], layer: int) -> None:
    got = uniform(seed, np.array(positions), layer)
    assert list(got) == [slow_uniform(seed, position, layer) for position in positions]


def test_uniform_is_even() -> None:
    drawn = uniform(1, np.arange(20_000), 3)
    counts = np.histogram(drawn, bins=20, range=(0, 1))[0]
    assert np.abs(counts - 1000).max() < 150
    assert abs(np.corrcoef(drawn, uniform(1, np.arange(20_000), 4))[0, 1]) < 0.03


# --- checks --------------------------------------------------------------------------------------


def setting(name: str, to: Any) -> Any:
    return lambda manifest, _: manifest.update({name: to})


def tensor(name: str, to: Any) -> Any:
    return lambda _, tensors: tensors.update({name: to(tensors.get(name))})


@pytest.mark.parametrize(
    "change",
    [
        setting("format", 2),
        setting("guard", "steering"),
        setting("more", 1),
        setting("layers", []),
        setting("layers", [1]),
        setting("layers", [2, 1]),
        setting("layers", [1, 2, 3]),
        setting("seed", -1),
        setting("seed", 2**64),
        setting("seed", True),
        setting("compat_std", 0),
        tensor("1.neurons", lambda old: old[::-1].copy()),
        tensor("1.neurons", lambda old: old - 1),
        tensor("1.neurons", lambda old: old.astype(np.int32)),
        tensor("1.neurons", lambda old: old[:0]),
        tensor("1.neurons", lambda old: old[:2]),
        tensor("1.neurons", lambda old: old[None]),
        tensor("1.forget_std", lambda old: old * 0),
        tensor("1.retain_std", lambda old: -old),
        tensor("1.retain_mean", lambda old: old * np.inf),
        tensor("1.retain_mean", lambda old: old.astype(np.float16)),
        tensor("3.neurons", lambda _: np.array([1])),
        lambda _, tensors: tensors.pop("2.forget_mean"),
    ],
)
def test_check_is_strict(change: Any) -> None:
    base = made()
    manifest, tensors = copy.deepcopy(dict(base.manifest)), dict(base.tensors)
    change(manifest, tensors)
    with pytest.raises(ValueError, match=r"."):
        NeuronAdjust.check(Artifact(DIGEST, manifest, tensors))


def test_the_model_must_have_the_layers() -> None:
    short = EngineModel(2, 0.02, MODEL.vocabulary, MODEL.device, MODEL.dtype)
    with pytest.raises(ValueError, match="layers"):
        NeuronAdjust.bind(made(), short)


def test_the_edit_covers_the_whole_prompt() -> None:
    prompt = Prompt("abcd", (1, 2, 3, 4), tuple(Span(i, i + 1) for i in range(4)), (Span(1, 3),))
    match = Match("p", 1.0, (Span(2, 3),), "example")
    edited = NeuronAdjust(DIGEST).on_prompt(Case("1", "t", "m", 0, prompt), match)
    assert [(e.guard, e.artifact, e.positions) for e in edited.edits] == [
        (NAME, DIGEST, (Span(0, 4),))
    ]
    assert guard_class(NAME) is NeuronAdjust
