"""Steps over mixed batches: the right rows are edited, and a failure touches one request only."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.case import Edit, Span, digest_of_ids
from guards.embedding_corruption import NAME, EmbeddingCorruption, manifest
from guards.needs import Capabilities
from guards.points import EngineModel
from guards.registry import GUARDS
from guards.signed_edits import SignedEdits
from guards.vocabulary import Vocabulary
from models.artifact import Artifact, ArtifactStore
from service.acting import Bindings
from service.admission import CheckedArtifacts

torch = pytest.importorskip("torch")

from service.engine.rows import (  # noqa: E402 - it imports torch
    Announced,
    EverythingDark,
    Requests,
    Rows,
    signed_field,
)

KEY = b"k" * 32
HIDDEN = 8


class Failing(EmbeddingCorruption):
    """Refuses nothing and fails at work, in a way that its manifest names."""

    @staticmethod
    def check(artifact: Artifact) -> None:
        """Anything will do."""

    @staticmethod
    def on_embedding(rows: Any, positions: Any, artifact: Artifact, scale: float) -> Any:
        return {
            "nan": lambda: rows / 0.0,
            "shape": lambda: rows[:, :-1],
            "dtype": lambda: rows.double(),
        }[artifact.manifest["how"]]()

    @staticmethod
    def follower(artifact: Artifact, model: EngineModel) -> None:
        """It follows nothing."""


@pytest.fixture(autouse=True)
def _failing_guard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(GUARDS, "failing", f"{__name__}:Failing")


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


@pytest.fixture
def requests(store: ArtifactStore) -> Requests:
    return Requests(KEY, bindings(store))


def bindings(store: ArtifactStore) -> Bindings:
    vocabulary = Vocabulary((b"a", b"b", b""), frozenset({2}), 3)
    model = EngineModel(2, 0.5, vocabulary, torch.device("cpu"), torch.float32)
    points = frozenset({"embedding", "activations", "mlp", "logits"})
    return Bindings(CheckedArtifacts(store), model, Capabilities(points, "V1"))


def signed(ids: list[int], *edits: Edit, expires: int = 0) -> str:
    made = SignedEdits("r", "m", 1, digest_of_ids(ids), len(ids), "salt", expires, edits)
    return made.sign(KEY)


def add(requests: Requests, name: str, length: int, *edits: Edit) -> None:
    ids = list(range(length))
    requests.add(Announced(name, signed(ids, *edits), ids))


def hidden_of(rows: int) -> Any:
    return torch.randn(rows, HIDDEN, generator=torch.Generator().manual_seed(rows))


def applied(requests: Requests, batch: list[Rows], rows: int) -> tuple[Any, Any]:
    before = hidden_of(rows)
    after = before.clone()
    requests.step(batch).embed(after)
    return before, after


@given(
    lengths=st.lists(st.integers(1, 30), min_size=1, max_size=4),
    budget=st.integers(1, 20),
    spans=st.data(),
)
@settings(max_examples=60, deadline=None)
def test_any_chunking_of_any_batch_equals_editing_each_prompt_whole(
    tmp_path_factory: pytest.TempPathFactory, lengths: list[int], budget: int, spans: Any
) -> None:
    store = ArtifactStore(tmp_path_factory.mktemp("store"))
    requests = Requests(KEY, bindings(store))
    digest = store.put(manifest("rand_noise", 3.0, seed=1))
    artifact = store.open(digest)
    wanted, prompts = [], [hidden_of(length) for length in lengths]
    for index, (length, prompt) in enumerate(zip(lengths, prompts, strict=True)):
        start = spans.draw(st.integers(0, length - 1))
        edited = np.arange(start, spans.draw(st.integers(start + 1, length)))
        edit = Edit(NAME, digest, (Span(int(edited[0]), int(edited[-1]) + 1),))
        add(requests, str(index), length, edit)
        whole = prompt.clone()
        whole[edited] = EmbeddingCorruption.on_embedding(prompt[edited], edited, artifact, 0.5)
        wanted.append(whole)
    done = [0] * len(lengths)
    got: list[list[Any]] = [[] for _ in lengths]
    while any(d < length for d, length in zip(done, lengths, strict=True)):
        batch, pieces, row = [], [], 0
        for index, length in enumerate(lengths):
            count = min(length - done[index], budget - row)
            if count > 0:
                batch.append(Rows(str(index), row, count, done[index]))
                pieces.append(prompts[index][done[index] : done[index] + count])
                row, done[index] = row + count, done[index] + count
        hidden = torch.cat([*pieces, torch.ones(3, HIDDEN)])  # padding behind
        requests.step(batch).embed(hidden)
        for rows in batch:
            got[int(rows.request)].append(hidden[rows.row : rows.row + rows.tokens])
        assert bool((hidden[row:] == 1).all()), "padding was written"
    for pieces, whole in zip(got, wanted, strict=True):
        assert torch.equal(torch.cat(pieces), whole)


def test_generated_tokens_are_not_edited(requests: Requests, store: ArtifactStore) -> None:
    edit = Edit(NAME, store.put(manifest("zero_out", 1.0)), (Span(0, 4),))
    add(requests, "a", 4, edit)
    before, after = applied(requests, [Rows("a", 0, 1, 4)], 1)
    assert torch.equal(before, after)


def test_a_request_that_nobody_announced_is_dark(requests: Requests) -> None:
    add(requests, "known", 2)
    batch = [Rows("known", 0, 2, 0), Rows("unknown", 2, 3, 0)]
    before, after = applied(requests, batch, 5)
    assert torch.equal(before[:2], after[:2])
    assert not after[2:].any()


@pytest.mark.parametrize("ids", [[0, 1, 2], [0, 1, 2, 3, 4], None])
@pytest.mark.parametrize("value", [None, "", "a.b", 7])
def test_what_does_not_verify_is_dark_at_every_position(
    requests: Requests, ids: list[int] | None, value: object
) -> None:
    requests.add(Announced("bad", value, ids))
    requests.add(Announced("other prompt", signed([9, 9]), ids))
    batch = [Rows("bad", 0, 2, 0), Rows("other prompt", 2, 1, 500)]
    assert not applied(requests, batch, 3)[1].any()
    assert requests.counts["dark_refused"] == 2
    assert requests.counts["dark_rows"] == 3


def test_a_missing_artifact_is_dark(requests: Requests) -> None:
    add(requests, "a", 4, Edit(NAME, "sha256:" + "0" * 64, (Span(0, 2),)))
    assert not applied(requests, [Rows("a", 0, 4, 0)], 4)[1].any()


@pytest.mark.parametrize("how", ["nan", "shape", "dtype", "raise"])
def test_a_failing_edit_darkens_its_own_request_for_good(
    requests: Requests, store: ArtifactStore, how: str
) -> None:
    good = Edit(NAME, store.put(manifest("flip_sign", 1.0)), (Span(0, 1),))
    bad = Edit("failing", store.put({"how": how}), (Span(3, 4),))
    add(requests, "good", 2, good)
    add(requests, "bad", 6, good, bad)
    batch = [Rows("good", 0, 2, 0), Rows("bad", 2, 2, 0)]
    before, after = applied(requests, batch, 4)
    assert torch.equal(after[0], -before[0])
    assert after[2].any(), "nothing has failed yet"
    before, after = applied(requests, [Rows("bad", 0, 3, 2), Rows("good", 3, 1, 2)], 4)
    assert not after[:3].any()
    assert torch.equal(before[3], after[3])
    before, after = applied(requests, [Rows("bad", 0, 1, 9)], 1)
    assert not after.any()
    assert requests.counts["dark_failed"] == 1


def test_an_ended_request_is_forgotten(requests: Requests) -> None:
    add(requests, "a", 2)
    requests.remove(["a", "never there"])
    assert not applied(requests, [Rows("a", 0, 2, 0)], 2)[1].any()


def test_the_signature_does_not_expire_in_the_queue(requests: Requests) -> None:
    add(requests, "a", 2)  # signed with expires=0
    before, after = applied(requests, [Rows("a", 0, 2, 0)], 2)
    assert torch.equal(before, after)


def test_a_batch_that_cannot_be_mapped_is_dark_as_a_whole(requests: Requests) -> None:
    hidden = hidden_of(3)
    EverythingDark(requests).embed(hidden)
    assert not hidden.any()


@pytest.mark.parametrize("extra", [None, {}, {"other": 1}, [1], "lethe"])
def test_without_a_signed_field_there_is_none(extra: object) -> None:
    assert signed_field(extra) is None
    assert signed_field({"lethe": "x"}) == "x"
