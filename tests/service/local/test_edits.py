"""Signed edits as interventions, against one row at a time."""

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from guards.case import Edit, Span, merged
from guards.embedding_corruption import EmbeddingCorruption, manifest
from guards.points import EngineModel
from guards.vocabulary import Vocabulary
from models.artifact import ArtifactStore
from models.local_engine import LocalEngine
from service.acting import Bindings
from service.admission import CheckedArtifacts, Refused
from service.local.edits import CAPABILITIES, NotEffective, interventions, prove_effect

LENGTH = 20
spans = st.lists(
    st.tuples(st.integers(0, LENGTH - 1), st.integers(1, 4)).map(
        lambda given: Span(given[0], min(given[0] + given[1], LENGTH))
    ),
    max_size=4,
).map(merged)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> ArtifactStore:
    return ArtifactStore(tmp_path_factory.mktemp("artifacts"))


def bindings(store: ArtifactStore, scale: float) -> Bindings:
    vocabulary = Vocabulary((b"a", b"b"), frozenset(), 2)
    model = EngineModel(2, scale, vocabulary, torch.device("cpu"), torch.float32)
    return Bindings(CheckedArtifacts(store), model, CAPABILITIES)


@settings(max_examples=50, deadline=None)
@given(st.lists(spans, max_size=3), st.lists(st.integers(1, 9), min_size=1, max_size=5))
def test_any_chunks_equal_one_row_at_a_time(
    store: ArtifactStore, positions: list[tuple[Span, ...]], chunks: list[int]
) -> None:
    digests = [store.put(manifest("rand_noise", 2.0, seed=n)) for n in range(len(positions))]
    edits = [
        Edit("embedding_corruption", digest, where)
        for digest, where in zip(digests, positions, strict=True)
    ]
    rows = torch.randn(sum(chunks), 8, generator=torch.Generator().manual_seed(0))
    expected, untouched = rows.clone(), rows.clone()
    for edit in edits:
        for position in range(len(rows)):
            if any(start <= position < end for start, end in edit.positions):
                expected[position] = EmbeddingCorruption.on_embedding(
                    expected[position : position + 1],
                    np.array([position]),
                    store.open(edit.artifact),
                    0.5,
                )[0]
    hook = interventions(edits, bindings(store, 0.5), LENGTH).embedding
    done, start = rows.clone(), 0
    for size in chunks if hook else ():
        assert hook is not None
        done[start : start + size] = hook(
            rows[start : start + size], np.arange(start, start + size), np.arange(start + size)
        )
        start += size
    assert torch.equal(done, expected)
    assert torch.equal(rows, untouched), "a hook returns new rows"


def test_what_cannot_be_applied_is_refused_before_anything_runs(store: ArtifactStore) -> None:
    edit = Edit("embedding_corruption", "sha256:" + "0" * 64, (Span(0, 1),))
    with pytest.raises(Refused):
        interventions([edit], bindings(store, 1.0), LENGTH)


def test_a_model_that_edits_do_not_reach_is_not_served(
    tiny_model: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = LocalEngine.load(tiny_model)
    prove_effect(engine)
    monkeypatch.setitem(vars(engine), "_layers", torch.nn.ModuleList([torch.nn.Identity()]))
    with pytest.raises(NotEffective):
        prove_effect(engine)
