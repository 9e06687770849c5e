"""Steering against a reference that takes one row of one request at a time."""

import copy
import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.activation_rows import NothingRemembered
from guards.case import Case, Match, Prompt, Span
from guards.points import EngineModel, Memory, Site, Visit
from guards.registry import guard_class
from guards.steering import NAME, Steering
from guards.vocabulary import Vocabulary
from models.artifact import Artifact

torch = pytest.importorskip("torch")

HIDDEN, LAYERS = 12, 6
DIGEST = "sha256:" + "0" * 64
MODEL = EngineModel(
    LAYERS, 0.02, Vocabulary((), frozenset(), 0), torch.device("cpu"), torch.float32
)


def step(kind: str, layers: Sequence[int], strength: float = 0.7, **more: Any) -> dict[str, Any]:
    own: dict[str, dict[str, Any]] = {
        "add": {"keep_norm": False},
        "ablate": {},
        "map": {"input": "position"},
    }
    given_ = {"kind": kind, "layers": list(layers), "strength": strength, "condition": None}
    return {**given_, **own[kind], **more}


def at_position(threshold: float, *, above: bool = True) -> dict[str, Any]:
    return {"input": "position", "layer": None, "threshold": threshold, "above": above}


def at_last(layer: int, threshold: float, *, above: bool = True) -> dict[str, Any]:
    return {"input": "last_prompt_token", "layer": layer, "threshold": threshold, "above": above}


def orthonormal(dice: np.random.Generator, count: int, rank: int) -> Any:
    squares = dice.standard_normal((count, HIDDEN, HIDDEN))
    return np.linalg.qr(squares)[0][:, :, :rank].transpose(0, 2, 1).astype(np.float32).copy()


def made(
    *steps: dict[str, Any], prompt: bool = True, generated: bool = True, rank: int = 2
) -> Artifact:
    dice = np.random.default_rng(3)
    tensors: dict[str, Any] = {}
    for index, each in enumerate(steps):
        shape = (len(each["layers"]), HIDDEN)
        if each["kind"] == "map":
            for name in ("read", "write"):
                tensors[f"{index}.{name}"] = dice.standard_normal(shape).astype(np.float32)
        elif each["kind"] == "ablate":
            tensors[f"{index}.vector"] = orthonormal(dice, shape[0], 1)[:, 0].copy()
        else:
            tensors[f"{index}.vector"] = dice.standard_normal(shape).astype(np.float32)
        if each["condition"]:
            count = shape[0] if each["condition"]["layer"] is None else 1
            tensors[f"{index}.condition"] = orthonormal(dice, count, rank)
    manifest = {
        "format": 1,
        "guard": NAME,
        "prompt": prompt,
        "generated": generated,
        "steps": list(steps),
        "tensors": DIGEST,
    }
    artifact = Artifact(DIGEST, manifest, tensors)
    Steering.check(artifact)
    return artifact


# --- reference -----------------------------------------------------------------------------------


class Reference:
    """One request, one row at a time, in plain numbers."""

    def __init__(self, artifact: Artifact, prompt_length: int) -> None:
        self.value, self.tensors = artifact.manifest, artifact.tensors
        self.last = prompt_length - 1
        self.kept: dict[tuple[str, int, int], float] = {}

    def row(self, row: np.ndarray[Any, Any], position: int, layer: int) -> Any:
        came = row.astype(np.float64)
        if position == self.last:
            for index, each in enumerate(self.value["steps"]):
                condition = each["condition"]
                if condition and condition["layer"] == layer:
                    self.kept["condition", index, 0] = self.judge(condition, came, index, 0)
        state = came
        phase = self.value["generated"] if position > self.last else self.value["prompt"]
        for index, each in enumerate(self.value["steps"]):
            if layer in each["layers"]:
                moved = self.moved(index, each, state, position, layer)
                if phase and moved is not None and self.acts(index, each, came, position, layer):
                    state = moved
        return state

    def acts(self, index: int, each: Any, came: Any, position: int, layer: int) -> bool:
        condition = each["condition"]
        if not condition:
            return True
        if condition["layer"] is None:
            return self.judge(condition, came, index, each["layers"].index(layer))
        return position >= self.last and bool(self.kept["condition", index, 0])

    def judge(self, condition: Any, row: Any, index: int, at: int) -> bool:
        projected = sum((row @ b) * b for b in self.tensors[f"{index}.condition"][at])
        cosine = row @ projected / (np.linalg.norm(row) * np.linalg.norm(projected))
        above = bool(cosine > condition["threshold"])
        return above is bool(condition["above"])

    def moved(self, index: int, each: Any, state: Any, position: int, layer: int) -> Any:
        at = each["layers"].index(layer)
        strength = each["strength"]
        if each["kind"] == "map":
            gate = float(state @ self.tensors[f"{index}.read"][at])
            if each["input"] == "last_prompt_token":
                if position < self.last:
                    return None
                if position == self.last:
                    self.kept["gate", index, layer] = gate
                gate = self.kept["gate", index, layer]
            return state + strength * gate * self.tensors[f"{index}.write"][at]
        vector = self.tensors[f"{index}.vector"][at]
        if each["kind"] == "ablate":
            return state - strength * (state @ vector) * vector
        moved = state + strength * vector
        if each["keep_norm"]:
            moved = moved * np.linalg.norm(state) / np.linalg.norm(moved)
        return moved


# --- running -------------------------------------------------------------------------------------


def stream(seed: int, tokens: int) -> Any:
    """Rows of one request for every layer: [layers, tokens, hidden]."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(LAYERS, tokens, HIDDEN, generator=generator)


def visited(
    bound: Any, rows: Any, memory: Memory, chunks: Iterable[range], layers: Iterable[int] = ()
) -> Any:
    """One request alone, chunk by chunk, each through all layers."""
    out = rows.clone()
    for chunk in chunks:
        at = list(chunk)
        for layer in layers or range(LAYERS):
            site = Site("layer", layer)
            if site in bound.sites:
                visit = Visit(site, np.array(at), np.zeros(len(at), np.int64), [memory])
                out[layer, at] = bound.apply(rows[layer, at], visit)
    return out


def expected(artifact: Artifact, rows: Any, prompt_length: int) -> Any:
    reference, out = Reference(artifact, prompt_length), rows.clone()
    for position in range(rows.shape[1]):
        for layer in range(LAYERS):
            state = reference.row(rows[layer, position].numpy(), position, layer)
            out[layer, position] = torch.tensor(state)
    return out


ARTIFACTS = {
    "add": made(step("add", [1, 3])),
    "add, norm kept": made(step("add", [1, 3], -2.0, keep_norm=True)),
    "ablate": made(step("ablate", [0, 5])),
    "map": made(step("map", [1, 2])),
    "map of the last": made(step("map", [1, 2], input="last_prompt_token")),
    "condition at the position": made(step("add", [1, 3], condition=at_position(0.4))),
    "condition at the position, below": made(
        step("ablate", [1, 3], condition=at_position(0.4, above=False))
    ),
    "condition at the last": made(step("add", [2, 3], condition=at_last(1, 0.4))),
    "condition at the last, below": made(
        step("add", [2, 3], condition=at_last(2, 0.4, above=False))
    ),
    "prompt only": made(step("add", [1]), generated=False),
    "generated only": made(step("map", [1], input="last_prompt_token"), prompt=False),
    "many": made(
        step("add", [1, 3], condition=at_last(0, 0.3)),
        step("ablate", [1, 2, 3]),
        step("map", [3], input="last_prompt_token", condition=at_position(0.3)),
        step("add", [3, 4], keep_norm=True),
        step("map", [3, 4], condition=at_last(1, 0.5, above=False)),
    ),
}


@pytest.mark.parametrize("name", ARTIFACTS)
@given(seed=st.integers(0, 10**6), prompt_length=st.integers(1, 9), cuts=st.sets(st.integers(1, 8)))
@settings(max_examples=25, deadline=None)
def test_equals_the_reference_in_any_chunks(
    name: str, seed: int, prompt_length: int, cuts: set[int]
) -> None:
    artifact, rows = ARTIFACTS[name], stream(seed, 9)
    before = rows.clone()
    bound = Steering.bind(artifact, MODEL)
    edges = [0, *sorted(cuts), 9]
    chunks = [range(a, b) for a, b in itertools.pairwise(edges)]
    got = visited(bound, rows, Memory(prompt_length), chunks)
    assert torch.allclose(got, expected(artifact, rows, prompt_length), rtol=1e-4, atol=1e-5)
    assert torch.equal(rows, before), "the caller's rows were written"
    whole = visited(bound, rows, Memory(prompt_length), [range(9)])
    assert torch.equal(got, whole), "chunks make a difference"


@pytest.mark.parametrize("name", ARTIFACTS)
@given(lengths=st.lists(st.integers(1, 7), min_size=1, max_size=5), data=st.data())
@settings(max_examples=25, deadline=None)
def test_requests_together_are_as_alone(name: str, lengths: list[int], data: Any) -> None:
    bound = Steering.bind(ARTIFACTS[name], MODEL)
    streams = [stream(seed, 8) for seed in range(len(lengths))]
    alone = [
        visited(bound, rows, Memory(length), [range(8)])
        for rows, length in zip(streams, lengths, strict=True)
    ]
    memories = [Memory(length) for length in lengths]
    done = [0] * len(lengths)
    together = [rows.clone() for rows in streams]
    while min(done) < 8:
        ends = [data.draw(st.integers(start, 8)) for start in done]
        if ends == done:
            ends = [8] * len(done)
        visit_together(bound, streams, together, memories, list(zip(done, ends, strict=True)))
        done = ends
    for one, other in zip(together, alone, strict=True):
        assert torch.equal(one, other)


def visit_together(
    bound: Any, streams: Any, out: Any, memories: list[Memory], spans: list[tuple[int, int]]
) -> None:
    positions = np.concatenate([np.arange(a, b) for a, b in spans])
    owners = np.concatenate([np.full(b - a, i) for i, (a, b) in enumerate(spans)])
    for site in sorted(bound.sites):
        rows = torch.cat(
            [each[site.layer, a:b] for each, (a, b) in zip(streams, spans, strict=True)]
        )
        got = bound.apply(rows, Visit(site, positions, owners.astype(np.int64), memories))
        for index, (a, b) in enumerate(spans):
            out[index][site.layer, a:b] = got[torch.from_numpy(owners == index)]


@pytest.mark.parametrize("name", ARTIFACTS)
def test_visits_after_preemption_give_the_same_rows(name: str) -> None:
    bound, rows, memory = Steering.bind(ARTIFACTS[name], MODEL), stream(4, 9), Memory(5)
    first = visited(bound, rows, memory, [range(9)])
    kept = dict(memory.kept)
    again = visited(bound, rows, memory, [range(3), range(3, 6), range(6, 9)])
    assert torch.equal(first, again)
    assert memory.kept == kept


@pytest.mark.parametrize(
    "name", ["map of the last", "condition at the last", "generated only", "many"]
)
def test_without_the_last_prompt_token_nothing_after_it_goes_on(name: str) -> None:
    bound, rows = Steering.bind(ARTIFACTS[name], MODEL), stream(4, 9)
    with pytest.raises(NothingRemembered):
        visited(bound, rows, Memory(5), [range(6, 7)])
    visited(bound, rows, Memory(5), [range(4)])


def test_a_condition_that_was_not_read_is_not_taken_to_fail() -> None:
    bound, rows = Steering.bind(ARTIFACTS["condition at the last"], MODEL), stream(4, 9)
    with pytest.raises(NothingRemembered):
        visited(bound, rows, Memory(5), [range(5)], layers=[3])


def test_one_request_without_memory_is_not_hidden_by_others() -> None:
    bound, rows = Steering.bind(ARTIFACTS["map of the last"], MODEL), stream(1, 9)
    seen = Memory(5)
    visited(bound, rows, seen, [range(5)])
    visit = Visit(Site("layer", 1), np.array([5, 5]), np.array([0, 1]), [seen, Memory(5)])
    with pytest.raises(NothingRemembered):
        bound.apply(rows[1, [5, 5]], visit)


def test_steps_are_applied_in_their_order() -> None:
    add, ablate = step("add", [2], 1.0), step("ablate", [2], 1.0)
    one, other = made(add, ablate), made(ablate, add)
    tensors = {"0.vector": one.tensors["1.vector"], "1.vector": one.tensors["0.vector"]}
    other = Artifact(DIGEST, other.manifest, tensors)
    rows = stream(5, 4)
    after_ablation = visited(Steering.bind(one, MODEL), rows, Memory(9), [range(4)])
    after_addition = visited(Steering.bind(other, MODEL), rows, Memory(9), [range(4)])
    direction = torch.tensor(one.tensors["1.vector"][0])
    assert (after_ablation[2] @ direction).abs().max() < 1e-5
    assert (after_addition[2] @ direction).abs().min() > 1e-3


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_rows_keep_their_dtype_and_are_finite(dtype: Any) -> None:
    bound = Steering.bind(made(step("add", [1], 1e6), prompt=False), MODEL)
    rows = stream(2, 6).to(dtype)
    got = visited(bound, rows, Memory(3), [range(6)])
    assert got.dtype == dtype
    assert got.isfinite().all()
    assert torch.equal(got[1, :3], rows[1, :3])
    assert not torch.equal(got[1, 3:], rows[1, 3:])


def test_no_length_is_no_division() -> None:
    artifact = made(step("add", [1], keep_norm=True, condition=at_position(0.1, above=False)))
    visit = Visit(Site("layer", 1), np.arange(2), np.zeros(2, np.int64), [Memory(1)])
    got = Steering.bind(artifact, MODEL).apply(torch.zeros(2, HIDDEN), visit)
    assert torch.equal(got, torch.zeros(2, HIDDEN))


# --- checks --------------------------------------------------------------------------------------


def broken(change: Any, *steps: dict[str, Any]) -> Artifact:
    base = made(*(steps or (step("map", [1, 3], condition=at_last(1, 0.5)), step("ablate", [2]))))
    manifest, tensors = copy.deepcopy(dict(base.manifest)), dict(base.tensors)
    change(manifest, tensors)
    return Artifact(DIGEST, manifest, tensors)


def setting(*path: Any, to: Any) -> Any:
    def change(manifest: Any, tensors: Any) -> None:
        del tensors
        for key in path[:-1]:
            manifest = manifest[key]
        manifest[path[-1]] = to

    return change


def tensor(name: str, to: Any) -> Any:
    def change(manifest: Any, tensors: Any) -> None:
        del manifest
        tensors[name] = to(tensors.get(name))

    return change


@pytest.mark.parametrize(
    "change",
    [
        setting("format", to=2),
        setting("format", to=True),
        setting("guard", to="text_filter"),
        setting("more", to=1),
        setting("prompt", to="matched"),
        setting("prompt", to=1),
        lambda manifest, _: manifest.update(prompt=False, generated=False),
        setting("steps", to=[]),
        setting("steps", to={}),
        setting("steps", 0, to=[]),
        setting("steps", 0, "kind", to="push"),
        setting("steps", 0, "kind", to=[]),
        setting("steps", 0, "more", to=1),
        setting("steps", 1, "keep_norm", to=False),
        setting("steps", 0, "layers", to=[]),
        setting("steps", 0, "layers", to=[3, 1]),
        setting("steps", 0, "layers", to=[1, 1]),
        setting("steps", 0, "layers", to=[-1, 3]),
        setting("steps", 0, "layers", to=[True, 3]),
        setting("steps", 0, "layers", to=[1.0, 3]),
        setting("steps", 0, "strength", to=math.nan),
        setting("steps", 0, "strength", to=1e300),
        setting("steps", 0, "strength", to=True),
        setting("steps", 0, "strength", to="1"),
        setting("steps", 0, "input", to="last"),
        setting("steps", 0, "condition", to={}),
        setting("steps", 0, "condition", to=0.5),
        setting("steps", 0, "condition", "input", to="position"),
        setting("steps", 0, "condition", "layer", to=None),
        setting("steps", 0, "condition", "layer", to=2),
        setting("steps", 0, "condition", "layer", to=True),
        setting("steps", 0, "condition", "threshold", to=1.5),
        setting("steps", 0, "condition", "threshold", to=math.inf),
        setting("steps", 0, "condition", "above", to=1),
        tensor("more", lambda _: np.zeros((2, HIDDEN), np.float32)),
        tensor("0.read", lambda old: old.astype(np.float64)),
        tensor("0.read", lambda old: old[:1]),
        tensor("0.read", lambda old: old[:, :-1]),
        tensor("0.read", lambda old: old[None]),
        tensor("0.write", lambda old: old * np.nan),
        tensor("0.condition", lambda old: old * 2),
        tensor("0.condition", lambda old: old[:, :0]),
        tensor("1.vector", lambda old: old * 2),
        lambda _, tensors: tensors.pop("1.vector"),
        lambda _, tensors: tensors.clear(),
    ],
)
def test_check_is_strict(change: Any) -> None:
    with pytest.raises(ValueError, match=r"."):
        Steering.check(broken(change))


def test_the_model_must_have_the_layers() -> None:
    with pytest.raises(ValueError, match="layers"):
        Steering.bind(made(step("add", [LAYERS])), MODEL)


# --- prompts -------------------------------------------------------------------------------------


def case_of(text: str, content: Span) -> Case:
    places = tuple(Span(i, i + 1) for i in range(len(text)))
    return Case("1", "t", "m", 0, Prompt(text, tuple(range(len(text))), places, (content,)))


@pytest.mark.parametrize(
    ("reach", "spans", "positions"),
    [
        ("from_match", (Span(5, 7), Span(3, 4)), (Span(3, 12),)),
        ("from_match", (), (Span(2, 12),)),
        ("matched", (Span(5, 7), Span(3, 4)), (Span(3, 4), Span(5, 7), Span(11, 12))),
        ("matched", (Span(5, 12),), (Span(5, 12),)),
        ("matched", (), (Span(2, 9), Span(11, 12))),
        ("last", (Span(5, 7),), (Span(11, 12),)),
    ],
)
def test_the_last_prompt_token_is_always_covered(
    reach: Any, spans: tuple[Span, ...], positions: tuple[Span, ...]
) -> None:
    match = Match("p", 1.0, spans, "alias")
    edited = Steering(DIGEST, reach).on_prompt(case_of("a" * 12, Span(2, 9)), match)
    assert [(e.guard, e.artifact, e.positions) for e in edited.edits] == [(NAME, DIGEST, positions)]


def test_a_prompt_without_content_is_steered_throughout() -> None:
    match = Match("p", 1.0, (), "example")
    edited = Steering(DIGEST).on_prompt(case_of("abc", Span(0, 0)), match)
    assert edited.edits[0].positions == (Span(0, 3),)


def test_registered() -> None:
    assert guard_class(NAME) is Steering
    with pytest.raises(TypeError):
        Steering(DIGEST, "none")  # type: ignore[arg-type]
