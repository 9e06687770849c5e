"""Logit differences against slow references, and what they must never do."""

import math
import random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.case import Case, Match, Prompt, Span
from guards.logit_difference import (
    LOWERED,
    METHODS,
    NAME,
    ROLES,
    BoundDifference,
    LogitDifference,
    Watch,
    degenerate,
)
from guards.points import EngineModel, History
from guards.registry import guard_class
from guards.vocabulary import Vocabulary
from models.artifact import Artifact
from models.assistant_config import tensor_shapes

torch = pytest.importorskip("torch")

SIZE = 61
PIECES = (b"", b"", *(bytes([65 + i % 50, 97]) for i in range(SIZE - 4)), b"", b"")
VOCABULARY = Vocabulary(PIECES, frozenset({1, 7}), SIZE)
FIXED = {0, 1, 7, SIZE - 2, SIZE - 1}
MODEL = EngineModel(2, 0.02, VOCABULARY, torch.device("cpu"), torch.float32)
CONFIG: dict[str, Any] = {
    "vocab_size": SIZE,
    "hidden_size": 16,
    "intermediate_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 1,
    "head_dim": 8,
    "max_position_embeddings": 512,
    "rms_norm_eps": 1e-6,
    "tie_word_embeddings": False,
    "rope_parameters": {"rope_type": "default", "rope_theta": 10000.0},
}
OPTIONS: dict[str, dict[str, Any]] = {
    "uld": {"strength": 0.8, "filter": 0.1},
    "dd_linear": {"strength": 1.5},
    "dd_rank": {"top": 6},
}


def made(method: str, /, **changes: Any) -> Artifact:
    tensors = {}
    for seed, role in enumerate(ROLES[method]):
        dice = np.random.default_rng(seed)
        for name, shape in tensor_shapes(CONFIG).items():
            drawn = dice.standard_normal(shape) * 0.5 + (len(shape) == 1)
            tensors[f"{role}.{name}"] = drawn.astype(np.float32)
    value = {
        "format": 1,
        "guard": NAME,
        "method": method,
        **OPTIONS[method],
        "vocabulary": VOCABULARY.digest,
        "assistants": dict.fromkeys(ROLES[method], CONFIG),
        "blind": "ab" * 32,
        "tensors": "sha256:" + "0" * 64,
    }
    return Artifact("", {**value, **changes}, tensors)


def bound(method: str, **changes: Any) -> BoundDifference:
    artifact = made(method, **changes)
    LogitDifference.check(artifact)
    return LogitDifference.bind(artifact, MODEL)


def logits_of(rows: int, seed: int = 0) -> Any:
    return torch.randn(rows, SIZE, generator=torch.Generator().manual_seed(seed)) * 4


def histories_of(rows: int, seed: int = 0, output: int = 5) -> list[History]:
    dice = random.Random(seed)

    def ids(count: int) -> list[int]:
        return [dice.randrange(SIZE) for _ in range(count)]

    return [History(f"r{i}", ids(3 + i), ids(output)) for i in range(rows)]


def opinion(edit: BoundDifference, role: str, history: History) -> list[float]:
    """What one assistant says: a plain pass over all tokens."""
    model = edit._assistants[role]._model
    with torch.no_grad():
        ids = torch.tensor([[*history.prompt, *history.output]])
        found: list[float] = model(input_ids=ids, use_cache=False).logits[0, -1].tolist()
    return found


def log_sum(values: list[float]) -> float:
    most = max(values, default=-math.inf)
    if most == -math.inf:
        return most
    return most + math.log(sum(math.exp(value - most) for value in values))


def reference(edit: BoundDifference, row: list[float], history: History) -> list[float]:
    """The formulas as they are written, one number at a time."""
    how = edit._how
    halved = 0.5 ** Watch().halvings(history)
    said = {role: opinion(edit, role, history) for role in ROLES[how["method"]]}
    free = [token for token in range(SIZE) if token not in FIXED]
    if how["method"] == "uld":
        logp = [value - log_sum(row) for value in row]
        kept = max(1, int(how["filter"] * SIZE))
        floor = min(max(logp) + math.log(how["filter"]), sorted(logp)[-kept])
        new = [
            row[t] - how["strength"] * halved * said["assistant"][t]
            if logp[t] >= floor
            else row[t] - LOWERED
            for t in range(SIZE)
        ]
    elif how["method"] == "dd_linear":
        strength = how["strength"] * halved
        new = [row[t] + strength * (said["retain"][t] - said["forget"][t]) for t in range(SIZE)]
    else:
        gains = sorted(free, key=lambda t: said["retain"][t] - said["forget"][t])
        low = set(gains[: max(1, int(how["top"] * halved))])
        new = [row[t] - LOWERED * (t in low) for t in range(SIZE)]
    shift = log_sum([row[t] for t in free]) - log_sum([new[t] for t in free])
    return [row[t] if t in FIXED else new[t] + shift for t in range(SIZE)]


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("output", [0, 5, 60, 130])
def test_equals_the_reference(method: str, output: int) -> None:
    edit = bound(method)
    logits, histories = logits_of(6), histories_of(6, output=output)
    if output:
        histories[2] = histories[2]._replace(output=[9, 8] * output)  # a loop
    before = logits.clone()
    edit.apply(logits, histories)
    for row, old, history in zip(logits.tolist(), before.tolist(), histories, strict=True):
        assert row == pytest.approx(reference(edit, old, history), abs=1e-3)
    assert edit.degenerations == (1 if output >= 50 else 0)


@pytest.mark.parametrize("method", METHODS)
def test_control_tokens_keep_their_probability(method: str) -> None:
    logits = logits_of(5)
    before = logits.softmax(-1)
    bound(method).apply(logits, histories_of(5))
    after = logits.softmax(-1)
    fixed = sorted(FIXED)
    assert torch.allclose(after[:, fixed], before[:, fixed], atol=1e-6)
    assert not torch.allclose(after, before, atol=1e-2)
    assert torch.allclose(after.sum(-1), torch.ones(5))


@pytest.mark.parametrize("method", METHODS)
@given(data=st.data())
@settings(max_examples=25, deadline=None)
def test_what_is_ruled_out_stays_so_and_a_row_is_never_emptied(
    method: str, data: st.DataObject
) -> None:
    logits = logits_of(3)
    for row in range(3):
        allowed = data.draw(st.sets(st.integers(0, SIZE - 1), max_size=8))
        banned = [token for token in range(SIZE) if token not in allowed]
        logits[row, banned] = -math.inf
    ruled_out = logits.isneginf()
    bound(method).apply(logits, histories_of(3))
    assert torch.equal(logits.isneginf(), ruled_out)
    assert not bool(logits.isnan().any())


def test_of_lowered_tokens_alone_the_model_chooses_as_before() -> None:
    edit, (history,) = bound("dd_rank"), histories_of(1)
    free = [token for token in range(SIZE) if token not in FIXED]
    said = [opinion(edit, role, history) for role in ("forget", "retain")]
    lowered = sorted(free, key=lambda t: said[1][t] - said[0][t])[:3]
    logits = torch.full((1, SIZE), -math.inf)
    logits[0, lowered] = torch.tensor([1.0, 3.0, 2.0])
    edit.apply(logits, [history])
    assert logits.softmax(-1)[0, lowered].tolist() == pytest.approx(
        torch.tensor([1.0, 3.0, 2.0]).softmax(0).tolist(), abs=1e-4
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_batch_is_its_rows_in_any_order_and_with_any_past(method: str) -> None:
    logits, histories = logits_of(6), histories_of(6, output=60)
    edit, together = bound(method), logits.clone()
    edit.apply(together, histories)
    order = [3, 1, 5, 0]
    again = logits[order].clone()
    edit.apply(again, [histories[i] for i in order])
    assert torch.allclose(again, together[order], atol=1e-3)
    for row, history in enumerate(histories):
        alone = logits[row : row + 1].clone()
        fresh = bound(method)
        fresh.apply(alone, [history])
        assert torch.allclose(alone[0], together[row], atol=1e-3)
        edit.forget(history.key)
    assert all(assistant.cached == 0 for assistant in edit._assistants.values())


def test_a_loop_halves_the_strength_until_it_is_over() -> None:
    dice = random.Random(0)
    sense = [dice.randrange(1000) for _ in range(400)]
    watch = Watch()

    def halvings(output: list[int]) -> int:
        answers = {one.halvings(History("k", [1], output)) for one in (watch, Watch())}
        (answer,) = answers  # what was seen before makes no difference
        return answer

    assert [halvings(sense[:count]) for count in (0, 49, 50, 200)] == [0, 0, 0, 0]
    loop = sense[:60] + [4, 5, 6] * 30
    assert [halvings(loop[:count]) for count in (74, 100, 125, 149, 150)] == [0, 1, 2, 2, 3]
    # The last look at the loop's end still finds one; it leaves the reckoning after 8 looks.
    over = loop + sense[60:400]
    assert halvings(over[:175]) == 3
    assert halvings(over[:350]) == 0
    assert halvings(loop[:100]) == 1, "a shorter history of the same key"
    assert watch.found >= 3


def test_repetition_is_what_counts_as_degenerate() -> None:
    assert degenerate([7] * 50)
    assert degenerate(list(range(20)) * 3)
    assert not degenerate(list(range(30)) * 2)
    assert not degenerate(list(range(50)))


@pytest.mark.parametrize(
    ("method", "change"),
    [
        ("uld", {"format": 2}),
        ("uld", {"guard": "other"}),
        ("uld", {"method": "other"}),
        ("uld", {"method": ["uld"]}),
        ("uld", {"method": "dd_rank"}),
        ("uld", {"strength": 0}),
        ("uld", {"strength": True}),
        ("uld", {"strength": float("inf")}),
        ("uld", {"filter": 0.0}),
        ("uld", {"filter": 1}),
        ("uld", {"filter": "0.1"}),
        ("dd_linear", {"strength": -1.0}),
        ("dd_linear", {"filter": 0.1}),
        ("dd_rank", {"top": 0}),
        ("dd_rank", {"top": 2.0}),
        ("dd_rank", {"strength": 1.0}),
        ("uld", {"vocabulary": None}),
        ("uld", {"blind": None}),
        ("uld", {"assistants": []}),
        ("uld", {"assistants": {"forget": CONFIG}}),
        ("dd_rank", {"assistants": {"forget": CONFIG, "retain": {**CONFIG, "hidden_size": 8}}}),
        ("uld", {"assistants": {"assistant": {**CONFIG, "num_hidden_layers": 2}}}),
        ("uld", {"more": 1}),
    ],
)
def test_an_artifact_that_cannot_be_applied_is_refused(method: str, change: dict[str, Any]) -> None:
    LogitDifference.check(made(method))
    with pytest.raises(ValueError, match=r"."):
        LogitDifference.check(made(method, **change))


@pytest.mark.parametrize("wrong", ["missing", "shape", "dtype", "infinite"])
def test_tensors_that_are_not_the_assistants_are_refused(wrong: str) -> None:
    artifact = made("dd_linear")
    tensors: dict[str, Any] = dict(artifact.tensors)
    name = "retain.model.norm.weight"
    if wrong == "missing":
        del tensors[name]
    else:
        tensors[name] = {
            "shape": np.ones(4, np.float32),
            "dtype": tensors[name].astype(np.float64),
            "infinite": np.full_like(tensors[name], np.inf),
        }[wrong]
    with pytest.raises(ValueError, match="tensor"):
        LogitDifference.check(Artifact("", artifact.manifest, tensors))


def test_assistants_of_another_vocabulary_are_refused() -> None:
    other = Vocabulary((b"x", *PIECES[1:]), VOCABULARY.ends, SIZE)
    with pytest.raises(ValueError, match="vocabulary"):
        LogitDifference.bind(
            made("uld"), MODEL.__class__(2, 0.02, other, MODEL.device, MODEL.dtype)
        )
    wider = Vocabulary(PIECES, VOCABULARY.ends, SIZE + 3)
    model = MODEL.__class__(2, 0.02, wider, MODEL.device, MODEL.dtype)
    with pytest.raises(ValueError, match="number of logits"):
        LogitDifference.bind(made("uld", vocabulary=wider.digest), model)


def test_an_assistant_that_does_not_stay_finite_is_an_error() -> None:
    artifact = made("uld")
    tensors = dict(artifact.tensors)
    tensors["assistant.lm_head.weight"] = np.full((SIZE, 16), 3e38, np.float32)
    edit = LogitDifference.bind(Artifact("", artifact.manifest, tensors), MODEL)
    with pytest.raises(ValueError, match="finite"):
        edit.apply(logits_of(1), histories_of(1))


def test_it_leaves_an_edit_without_positions_and_is_registered() -> None:
    prompt = Prompt("ab", (1, 2), (Span(0, 1), Span(1, 2)), (Span(0, 2),))
    guard = LogitDifference("sha256:" + "0" * 64)
    case = guard.on_prompt(Case("c", "t", "m", 1, prompt), Match("p", 1.0, (Span(0, 1),), "alias"))
    assert [(edit.guard, edit.positions) for edit in case.edits] == [(NAME, ())]
    assert guard_class(NAME) is LogitDifference
