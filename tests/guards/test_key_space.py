"""Key Space Detection against a rule told row by row; chunks, repeats, and what was noticed."""

import copy
import itertools
from collections.abc import Iterable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.activation_rows import NothingRemembered
from guards.case import Case, Match, Prompt, Span
from guards.key_space import NAME, KeySpaceDetection
from guards.points import EngineModel, Memory, Site, Visit
from guards.registry import guard_class
from guards.vocabulary import Vocabulary
from models.artifact import Artifact

torch = pytest.importorskip("torch")

WIDTH, LAYERS, TOKENS = 10, 4, 12
DIGEST = "sha256:" + "0" * 64
MODEL = EngineModel(
    LAYERS, 0.02, Vocabulary((), frozenset(), 0), torch.device("cpu"), torch.float32
)


def made(layers: tuple[int, ...] = (1, 3)) -> Artifact:
    dice = np.random.default_rng(6)
    tensors = {
        "mean": dice.standard_normal(WIDTH).astype(np.float32),
        "std": dice.uniform(0.5, 1.5, WIDTH).astype(np.float32),
        "neutral": dice.standard_normal((len(layers), WIDTH)).astype(np.float32),
    }
    manifest = {
        "format": 1,
        "guard": NAME,
        "layers": list(layers),
        "k": 2.0,
        "h": 0.75,
        "tensors": DIGEST,
    }
    artifact = Artifact(DIGEST, manifest, tensors)
    KeySpaceDetection.check(artifact)
    return artifact


ARTIFACT = made()


def stream(inside: Iterable[int], seed: int = 0) -> Any:
    """Keys [layers, tokens, width]; at layer 1 those of the positions ``inside`` are in the box."""
    generator = torch.Generator().manual_seed(seed)
    rows = torch.randn(LAYERS, TOKENS, WIDTH, generator=generator)
    mean, std = torch.tensor(ARTIFACT.tensors["mean"]), torch.tensor(ARTIFACT.tensors["std"])
    within = torch.rand(TOKENS, WIDTH, generator=generator) * 2 - 1
    rows[1] = mean + std * within * 1.4
    far = torch.tensor([at not in set(inside) for at in range(TOKENS)])
    rows[1, far, seed % WIDTH] = (mean + 1.6 * std)[seed % WIDTH]
    return rows


def expected(rows: Any, prompt_length: int) -> Any:
    value, tensors, out = ARTIFACT.manifest, ARTIFACT.tensors, rows.clone()
    fired = False
    for position in range(prompt_length - 1, TOKENS):
        away = max(
            abs(float(x) - float(m)) / float(s)
            for x, m, s in zip(rows[1, position], tensors["mean"], tensors["std"], strict=True)
        )
        fired = fired or away <= value["k"] * value["h"]
        if fired:
            for at, layer in enumerate(value["layers"]):
                out[layer, position] = torch.tensor(tensors["neutral"][at])
    return out


def visited(rows: Any, memory: Memory, chunks: Iterable[range], into: Any = None) -> Any:
    bound = KeySpaceDetection.bind(ARTIFACT, MODEL)
    out = rows.clone() if into is None else into
    for chunk, layer in itertools.product(chunks, (1, 3)):
        at = list(chunk)
        visit = Visit(Site("mlp", layer), np.array(at), np.zeros(len(at), np.int64), [memory])
        out[layer, at] = bound.apply(rows[layer, at], visit)
    return out


@given(
    inside=st.sets(st.integers(0, TOKENS - 1), max_size=4),
    prompt_length=st.integers(1, TOKENS),
    cuts=st.sets(st.integers(1, TOKENS - 1)),
    seed=st.integers(0, 50),
)
@settings(max_examples=80, deadline=None)
def test_equals_the_reference_in_any_chunks(
    inside: set[int], prompt_length: int, cuts: set[int], seed: int
) -> None:
    rows = stream(inside, seed)
    before = rows.clone()
    edges = [0, *sorted(cuts), TOKENS]
    chunks = [range(a, b) for a, b in itertools.pairwise(edges)]
    got = visited(rows, Memory(prompt_length), chunks)
    assert torch.equal(got, expected(rows, prompt_length))
    assert torch.equal(rows, before), "the caller's rows were written"


@given(
    inside=st.lists(st.sets(st.integers(0, TOKENS - 1), max_size=3), min_size=1, max_size=4),
    data=st.data(),
)
@settings(max_examples=40, deadline=None)
def test_requests_together_are_as_alone(inside: list[set[int]], data: Any) -> None:
    bound = KeySpaceDetection.bind(ARTIFACT, MODEL)
    streams = [stream(each, seed) for seed, each in enumerate(inside)]
    memories = [Memory(data.draw(st.integers(1, TOKENS))) for _ in inside]
    outs = [rows.clone() for rows in streams]
    for start in range(0, TOKENS, 3):
        for layer in (1, 3):
            rows = torch.cat([each[layer, start : start + 3] for each in streams])
            positions = np.tile(np.arange(start, start + 3), len(inside))
            owners = np.repeat(np.arange(len(inside)), 3)
            got = bound.apply(rows, Visit(Site("mlp", layer), positions, owners, memories))
            for out, part in zip(outs, torch.split(got, 3), strict=True):
                out[layer, start : start + 3] = part
    for rows, memory, out in zip(streams, memories, outs, strict=True):
        assert torch.equal(out, expected(rows, memory.prompt_length))


@given(
    inside=st.sets(st.integers(0, TOKENS - 1), max_size=3),
    prompt_length=st.integers(1, TOKENS - 2),
    reached=st.integers(1, TOKENS),
)
@settings(max_examples=60, deadline=None)
def test_a_preempted_request_goes_on_as_if_it_had_not_been(
    inside: set[int], prompt_length: int, reached: int
) -> None:
    rows, memory = stream(inside), Memory(prompt_length)
    visited(rows, memory, [range(reached)])
    kept = dict(memory.kept)
    again = visited(rows, memory, [range(reached)])
    assert memory.kept == kept
    visited(rows, memory, [range(reached, TOKENS)] if reached < TOKENS else [], into=again)
    assert torch.equal(again, expected(rows, prompt_length))


def test_once_noticed_it_is_not_undone_by_a_visit_of_earlier_positions() -> None:
    rows, memory = stream({6}), Memory(4)
    visited(rows, memory, [range(8)])
    visited(rows, memory, [range(4, 6)])
    got = visited(rows, memory, [range(8, 10)])
    assert torch.equal(got[1, 8], torch.tensor(ARTIFACT.tensors["neutral"][0]))
    assert torch.equal(got[1, 4], rows[1, 4])


def test_the_prompt_before_its_last_token_is_not_looked_at() -> None:
    rows = stream({0, 1, 2})
    assert torch.equal(visited(rows, Memory(4), [range(TOKENS)]), rows)
    assert not torch.equal(visited(rows, Memory(3), [range(TOKENS)]), rows)


def test_without_the_last_prompt_token_nothing_after_it_goes_on() -> None:
    rows = stream({6})
    with pytest.raises(NothingRemembered):
        visited(rows, Memory(4), [range(5, 7)])
    bound = KeySpaceDetection.bind(ARTIFACT, MODEL)
    with pytest.raises(NothingRemembered):
        bound.apply(rows[3, :4], Visit(Site("mlp", 3), np.arange(4), np.zeros(4, int), [Memory(4)]))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_keep_their_dtype(dtype: Any) -> None:
    model = EngineModel(LAYERS, 0.02, MODEL.vocabulary, MODEL.device, dtype)
    rows = torch.tensor(ARTIFACT.tensors["mean"])[None].to(dtype)
    visit = Visit(Site("mlp", 1), np.array([3]), np.zeros(1, np.int64), [Memory(4)])
    got = KeySpaceDetection.bind(ARTIFACT, model).apply(rows, visit)
    assert got.dtype == dtype
    assert torch.equal(got[0], torch.tensor(ARTIFACT.tensors["neutral"][0]).to(dtype))


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
        setting("layers", [3, 1]),
        setting("layers", [1]),
        setting("k", 0.0),
        setting("k", True),
        setting("k", float("inf")),
        setting("h", -1),
        setting("h", "2"),
        tensor("mean", lambda old: old[:-1]),
        tensor("mean", lambda old: old[None]),
        tensor("mean", lambda old: old[:0]),
        tensor("mean", lambda old: old.astype(np.float64)),
        tensor("std", lambda old: old * 0),
        tensor("neutral", lambda old: old[0]),
        tensor("neutral", lambda old: old * np.nan),
        tensor("more", lambda _: np.zeros(1, np.float32)),
        lambda _, tensors: tensors.pop("std"),
        lambda _, tensors: tensors.pop("mean"),
    ],
)
def test_check_is_strict(change: Any) -> None:
    manifest, tensors = copy.deepcopy(dict(ARTIFACT.manifest)), dict(ARTIFACT.tensors)
    change(manifest, tensors)
    with pytest.raises(ValueError, match=r"."):
        KeySpaceDetection.check(Artifact(DIGEST, manifest, tensors))


def test_the_model_must_have_the_layers() -> None:
    with pytest.raises(ValueError, match="layers"):
        KeySpaceDetection.bind(made((1, LAYERS)), MODEL)


def test_the_edit_is_on_the_last_token_of_the_prompt() -> None:
    prompt = Prompt("abcd", (1, 2, 3, 4), tuple(Span(i, i + 1) for i in range(4)), (Span(1, 3),))
    match = Match("p", 1.0, (Span(1, 2),), "example")
    edited = KeySpaceDetection(DIGEST).on_prompt(Case("1", "t", "m", 0, prompt), match)
    assert [(e.guard, e.artifact, e.positions) for e in edited.edits] == [
        (NAME, DIGEST, (Span(3, 4),))
    ]
    assert guard_class(NAME) is KeySpaceDetection
