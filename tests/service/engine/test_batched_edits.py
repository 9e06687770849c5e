"""Edits of many requests in one step equal the same edits of each request alone."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.case import Case, Edit, Match, Span, digest_of_ids
from guards.needs import Capabilities, Needs
from guards.points import (
    ActivationEdit,
    EngineModel,
    Follower,
    History,
    LogitsEdit,
    OnActivations,
    OnEmbedding,
    OnLogits,
    Site,
    Visit,
)
from guards.registry import GUARDS
from guards.signed_edits import SignedEdits
from guards.vocabulary import Vocabulary
from models.artifact import Artifact, ArtifactStore
from service.acting import Bindings
from service.admission import CheckedArtifacts

torch = pytest.importorskip("torch")

from service.engine.rows import Announced, Requests, Rows  # noqa: E402 - these import torch
from service.engine.sampling import LogitsEdits, LogitsRow  # noqa: E402

KEY = b"k" * 32
HIDDEN = 4
END = 2
SITE = Site("layer", 1)


class Doubling(OnActivations):
    """Multiplies by a factor, and adds what it remembers of the last prompt position."""

    NEEDS = Needs(points=frozenset({"activations"}))

    def on_prompt(self, case: Case, match: Match) -> Case:
        raise NotImplementedError

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Anything will do."""

    @staticmethod
    def bind(artifact: Artifact, model: EngineModel) -> ActivationEdit:
        return BoundDoubling(artifact.manifest["factor"], artifact.manifest.get("fails", False))


class BoundDoubling:
    sites = frozenset({SITE})
    generated = True

    def __init__(self, factor: float, fails: bool) -> None:
        self._factor, self._fails = factor, fails

    def apply(self, rows: Any, visit: Visit) -> Any:
        result = rows * self._factor
        for index, (position, owner) in enumerate(zip(visit.positions, visit.owners, strict=True)):
            memory = visit.memories[owner]
            if self._fails and position >= memory.prompt_length:
                result = rows / 0.0
            if position == memory.prompt_length - 1:
                memory.kept[0] = float(rows[index, 0])
            if position >= memory.prompt_length:
                result[index] += memory.kept[0]
        return result


class Following(OnEmbedding):
    """Zeroes what is named and, in the answer, every token 7."""

    NEEDS = Needs(points=frozenset({"embedding"}))

    def on_prompt(self, case: Case, match: Match) -> Case:
        raise NotImplementedError

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Anything will do."""

    @staticmethod
    def on_embedding(rows: Any, positions: Any, artifact: Artifact, scale: float) -> Any:
        return rows * 0

    @staticmethod
    def follower(artifact: Artifact, model: EngineModel) -> Follower | None:
        return Sevens()


class Sevens:
    def covers(self, history: Any, first: int) -> Any:
        return history[first:] == 7


class Banning(OnLogits):
    """Bans what was said last, or everything."""

    NEEDS = Needs(points=frozenset({"logits"}))

    def on_prompt(self, case: Case, match: Match) -> Case:
        raise NotImplementedError

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Anything will do."""

    @staticmethod
    def bind(artifact: Artifact, model: EngineModel) -> LogitsEdit:
        return BoundBan(artifact.manifest["how"])


class BoundBan:
    def __init__(self, how: str) -> None:
        self._how = how
        self.forgotten: list[str] = []

    def apply(self, logits: Any, histories: Sequence[History]) -> None:
        for row, history in zip(logits, histories, strict=True):
            if self._how == "all":
                row[:] = -torch.inf
            elif self._how == "fail at 9" and 9 in history.output:
                raise RuntimeError
            elif history.output:
                row[history.output[-1]] = -torch.inf

    def forget(self, key: str) -> None:
        self.forgotten.append(key)


@pytest.fixture(autouse=True)
def _guards(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("Doubling", "Following", "Banning"):
        monkeypatch.setitem(GUARDS, name.lower(), f"{__name__}:{name}")


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("artifacts"))


def requests_of(store: ArtifactStore, *lacking: str) -> Requests:
    pieces = tuple(bytes([65 + i]) if i != END else b"" for i in range(12))
    vocabulary = Vocabulary(pieces, frozenset({END}), 12)
    model = EngineModel(2, 0.5, vocabulary, torch.device("cpu"), torch.float32)
    points = frozenset({"embedding", "activations", "logits"}) - set(lacking)
    return Requests(KEY, Bindings(CheckedArtifacts(store), model, Capabilities(points, "V1")))


def add(requests: Requests, name: str, length: int, *edits: Edit) -> None:
    ids = [3] * length
    made = SignedEdits(name, "m", 1, digest_of_ids(ids), length, "salt", 0, edits)
    requests.add(Announced(name, made.sign(KEY), ids))


def doubling(store: ArtifactStore, factor: float, *spans: Span, fails: bool = False) -> Edit:
    return Edit("doubling", store.put({"factor": factor, "fails": fails}), spans)


def stream(seed: int, rows: int) -> Any:
    return torch.randn(rows, HIDDEN, generator=torch.Generator().manual_seed(seed))


@given(
    st.lists(
        st.tuples(
            st.integers(1, 6), st.integers(0, 4), st.lists(st.sampled_from([2.0, 3.0]), max_size=3)
        ),
        min_size=1,
        max_size=4,
    ),
    st.integers(1, 9),
)
@settings(max_examples=60, deadline=None)
def test_activations_in_any_batch_and_chunks_equal_each_request_alone(
    store: ArtifactStore, shapes: list[tuple[int, int, list[float]]], budget: int
) -> None:
    requests = requests_of(store)
    streams = [stream(i, length + more) for i, (length, more, _) in enumerate(shapes)]
    wanted = []
    for index, (length, _, factors) in enumerate(shapes):
        edits = [doubling(store, factor, Span(0, length)) for factor in factors]
        add(requests, str(index), length, *edits)
        rows = streams[index].clone()
        for factor in factors:  # in the order in which they are listed
            kept = float(rows[length - 1, 0])
            rows = rows * factor
            rows[length:] += kept
        wanted.append(rows)
    done = [0] * len(shapes)
    got: list[list[Any]] = [[] for _ in shapes]
    while any(d < len(rows) for d, rows in zip(done, streams, strict=True)):
        batch, pieces, row = [], [], 0
        for index, rows in enumerate(streams):
            count = min(len(rows) - done[index], budget - row)
            if count > 0:
                batch.append(Rows(str(index), row, count, done[index]))
                pieces.append(rows[done[index] : done[index] + count])
                row, done[index] = row + count, done[index] + count
        both = torch.cat(pieces)
        hidden, residual = both - 1.0, torch.ones_like(both)
        requests.step(batch).act(hidden, residual, SITE)
        assert bool((residual == 1).all())
        for rows_ in batch:
            piece = (hidden + residual)[rows_.row : rows_.row + rows_.tokens]
            got[int(rows_.request)].append(piece)
    for pieces, rows in zip(got, wanted, strict=True):
        torch.testing.assert_close(torch.cat(pieces), rows, rtol=1e-4, atol=1e-4)


def test_a_failing_activation_darkens_one_request_of_the_group(store: ArtifactStore) -> None:
    requests = requests_of(store)
    same = doubling(store, 2.0, Span(0, 2), fails=True)
    add(requests, "fails", 2, same)
    add(
        requests,
        "works",
        9,
        same,
    )
    hidden, residual = stream(0, 4), stream(1, 4)
    before = hidden.clone()
    step = requests.step([Rows("fails", 0, 3, 0), Rows("works", 3, 1, 0)])
    step.act(hidden, residual, SITE)
    assert not (hidden + residual)[:3].any()
    torch.testing.assert_close(hidden[3] + residual[3], 2 * (before[3] + residual[3]))
    assert requests.counts["dark_failed"] == 1


def test_other_sites_and_clean_requests_are_not_written(store: ArtifactStore) -> None:
    requests = requests_of(store)
    add(requests, "edited", 2, doubling(store, 2.0, Span(0, 2)))
    add(requests, "clean", 2)
    step = requests.step([Rows("edited", 0, 2, 0), Rows("clean", 2, 2, 0)])
    hidden = stream(0, 4)
    before = hidden.clone()
    step.act(hidden, None, Site("layer", 0))
    assert torch.equal(hidden, before)
    step.act(hidden, None, SITE)
    assert torch.equal(hidden[:2], 2 * before[:2])
    assert torch.equal(hidden[2:], before[2:])


def test_what_an_engine_lacks_goes_dark(store: ArtifactStore) -> None:
    requests = requests_of(store, "activations")
    add(requests, "a", 2, doubling(store, 2.0, Span(0, 2)))
    hidden = stream(0, 2)
    requests.step([Rows("a", 0, 2, 0)]).embed(hidden)
    assert not hidden.any()
    assert requests.counts["dark_refused"] == 1


def test_an_embedding_edit_follows_into_the_answer(store: ArtifactStore) -> None:
    requests = requests_of(store)
    add(requests, "a", 3, Edit("following", store.put({"x": 1}), (Span(1, 2),)))
    ids = np.array([3, 3, 7, 7, 5, 7])
    hidden = torch.ones(6, HIDDEN)
    requests.step([Rows("a", 0, 6, 0, lambda: ids)]).embed(hidden)
    assert [bool(row.any()) for row in hidden] == [True, False, True, False, True, False]


def test_an_edit_that_follows_without_history_goes_dark(store: ArtifactStore) -> None:
    requests = requests_of(store)
    add(requests, "a", 3, Edit("following", store.put({"x": 1}), (Span(1, 2),)))
    hidden = torch.ones(1, HIDDEN)
    requests.step([Rows("a", 0, 1, 4)]).embed(hidden)
    assert not hidden.any()


def test_a_request_that_begins_again_keeps_what_it_remembers(store: ArtifactStore) -> None:
    requests = requests_of(store)
    edit = doubling(store, 1.0, Span(0, 2))
    add(requests, "a", 2, edit)
    requests.step([Rows("a", 0, 2, 0)]).act(torch.ones(2, HIDDEN), None, SITE)
    add(requests, "a", 2, edit)  # preempted: its prompt may lie in the prefix cache
    hidden = torch.ones(1, HIDDEN)
    requests.step([Rows("a", 0, 1, 2)]).act(hidden, None, SITE)
    assert bool((hidden == 2).all())


def banning(store: ArtifactStore, how: str) -> Edit:
    return Edit("banning", store.put({"how": how}), ())


def edited(requests: Requests, said: dict[str, list[int]]) -> Any:
    rows = [
        LogitsRow(name, row, partial(list, ids)) for row, (name, ids) in enumerate(said.items())
    ]
    logits = torch.zeros(len(rows), 12)
    LogitsEdits(requests, partial(_same, rows)).edit(logits, None)
    return logits


def _same(rows: list[LogitsRow], context: Any) -> list[LogitsRow]:
    assert context is None
    return rows


def test_logits_of_each_request_are_edited_by_its_own_history(store: ArtifactStore) -> None:
    requests = requests_of(store)
    for name in ("a", "b"):
        add(requests, name, 2, banning(store, "last"))
    add(requests, "clean", 2)
    logits = edited(requests, {"a": [4], "clean": [5], "b": [1, 6], "nobody's": [3]})
    banned = [torch.nonzero(row.isinf()).flatten().tolist() for row in logits]
    assert banned == [[4], [], [6], []]


def test_an_empty_row_ends_the_answer(store: ArtifactStore) -> None:
    requests = requests_of(store)
    add(requests, "a", 2, banning(store, "all"))
    assert torch.nonzero(edited(requests, {"a": []})[0].isfinite()).tolist() == [[END]]


def test_what_went_dark_ends_its_answer_and_no_other(store: ArtifactStore) -> None:
    requests = requests_of(store)
    same = banning(store, "fail at 9")
    for name in ("good", "bad"):
        add(requests, name, 2, same)
    logits = edited(requests, {"good": [4], "bad": [9]})
    assert torch.nonzero(logits[0].isinf()).flatten().tolist() == [4]
    assert torch.nonzero(logits[1].isfinite()).flatten().tolist() == [END]
    again = edited(requests, {"good": [4], "bad": [4]})
    assert torch.nonzero(again[1].isfinite()).flatten().tolist() == [END]


def test_rows_that_cannot_be_mapped_end(store: ArtifactStore) -> None:
    def broken(_: Any) -> Any:
        raise AttributeError("vLLM has renamed something")

    requests, logits = requests_of(store), torch.zeros(2, 12)
    LogitsEdits(requests, broken).edit(logits, None)
    assert torch.nonzero(logits.isfinite()).tolist() == [[0, END], [1, END]]
    assert requests.counts["dark_unmapped"] == 1


def test_an_ended_request_is_forgotten_by_its_edits(store: ArtifactStore) -> None:
    requests = requests_of(store)
    edit = banning(store, "last")
    add(requests, "a", 2, edit)
    requests.remove(["a"])
    bound: Any = requests.bindings.get(edit.guard, edit.artifact).logits
    assert bound.forgotten == ["a"]


def test_what_was_said_without_its_logits_edited_goes_dark(store: ArtifactStore) -> None:
    """As where the sampler never calls the processor: that must not look like nothing to ban."""
    requests = requests_of(store)
    for name in ("guarded", "unguarded"):
        add(requests, name, 2, banning(store, "last"))
    edited(requests, {"guarded": []})
    hidden = torch.ones(2, HIDDEN)
    requests.step([Rows("guarded", 0, 1, 2), Rows("unguarded", 1, 1, 2)]).embed(hidden)
    assert [bool(row.any()) for row in hidden] == [True, False]
    assert requests.counts["dark_unguarded"] == 1


def test_a_prompt_in_chunks_is_not_taken_for_an_answer(store: ArtifactStore) -> None:
    requests = requests_of(store)
    add(requests, "a", 4, banning(store, "last"))
    hidden = torch.ones(2, HIDDEN)
    requests.step([Rows("a", 0, 2, 2)]).embed(hidden)
    assert bool(hidden.all())
