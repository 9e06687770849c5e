"""Admission: exactly what a gateway signed runs, and nothing else."""

from pathlib import Path
from typing import Any

import pytest

from guards.case import Edit, Span, digest_of_ids
from guards.embedding_corruption import NAME, manifest
from guards.signed_edits import SignedEdits
from models.artifact import ArtifactStore
from service.admission import PREFIX, CheckedArtifacts, Refused, admit

KEY = b"k" * 32
NOW = 1_000_000.0
IDS = [5, 6, 7, 8, 9]
ABSENT = "sha256:" + "0" * 64


@pytest.fixture
def store(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path)


def signed(*edits: Edit, key: bytes = KEY, **changed: Any) -> str:
    fields: dict[str, Any] = {
        "request": "r",
        "model": "m",
        "epoch": 1,
        "prompt": digest_of_ids(IDS),
        "length": len(IDS),
        "cache_salt": "salt",
        "expires": int(NOW) + 60,
        "edits": edits,
    }
    return SignedEdits(**{**fields, **changed}).sign(key)


def edit(store: ArtifactStore, **changed: Any) -> Edit:
    fields = {"guard": NAME, "artifact": store.put(manifest("zero_out", 1.0))}
    return Edit(positions=(Span(1, 3),), **{**fields, **changed})


def run(store: ArtifactStore, value: object, **changed: Any) -> SignedEdits:
    given: dict[str, Any] = {"prompt_ids": IDS, "cache_salt": "salt", "model": "m", **changed}
    return admit(value, key=KEY, artifacts=CheckedArtifacts(store), now=NOW, **given)


def test_what_was_signed_is_admitted(store: ArtifactStore) -> None:
    wanted = edit(store)
    assert run(store, signed(wanted)).edits == (wanted,)
    assert run(store, signed()).edits == ()
    assert run(store, signed(model="another"), model=None).model == "another"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        7,
        {"edits": []},
        "a.b",
        "ä.ö",
        signed(key=b"x" * 32),
        signed()[:-2],
        signed(expires=int(NOW) - 1),
        signed(prompt=digest_of_ids([1])),
        signed(length=4),
        signed(cache_salt="another"),
        signed(model="another"),
        signed(Edit(NAME, ABSENT, (Span(1, 3),))),
        signed(Edit(NAME, "../../etc/passwd", (Span(1, 3),))),
        signed(Edit("text_filter", ABSENT, (Span(1, 3),))),
        signed(Edit("unknown", ABSENT, (Span(1, 3),))),
        signed(Edit(NAME, ABSENT, (Span(1, 6),))),
        signed(Edit(NAME, ABSENT, (Span(3, 1),))),
    ],
)
def test_anything_else_is_refused(store: ArtifactStore, value: object) -> None:
    with pytest.raises(Refused) as caught:
        run(store, value)
    assert str(caught.value).startswith(PREFIX)


@pytest.mark.parametrize(
    "changed",
    [
        {"prompt_ids": [*IDS, 1]},
        {"prompt_ids": IDS[:-1]},
        {"prompt_ids": [*IDS[:-1], 1]},
        {"prompt_ids": None},
        {"cache_salt": None},
        {"cache_salt": "another"},
        {"model": "another"},
    ],
)
def test_another_request_under_the_same_field_is_refused(
    store: ArtifactStore, changed: dict[str, Any]
) -> None:
    with pytest.raises(Refused):
        run(store, signed(), **changed)


def test_artifacts_of_the_wrong_kind_are_refused(store: ArtifactStore) -> None:
    with pytest.raises(Refused, match="applied"):
        run(store, signed(edit(store, artifact=store.put({"format": 1}))))


def test_a_corrupt_artifact_is_refused(store: ArtifactStore) -> None:
    wanted = edit(store)
    path = store.root / "sha256" / wanted.artifact.removeprefix("sha256:") / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"zero_out", b"flip_sign"))
    with pytest.raises(Refused, match="corrupt"):
        run(store, signed(wanted))


def test_refusals_name_neither_digests_nor_salts(store: ArtifactStore) -> None:
    for value in (signed(Edit(NAME, ABSENT, (Span(1, 3),))), signed(cache_salt="secret-salt")):
        with pytest.raises(Refused) as caught:
            run(store, value)
        assert "0000" not in str(caught.value)
        assert "secret" not in str(caught.value)


def test_an_artifact_is_read_once_while_it_is_kept(store: ArtifactStore) -> None:
    digests = [store.put(manifest("zero_out", 1.0, seed=seed)) for seed in range(3)]
    kept = CheckedArtifacts(store, limit=2)
    first = kept.get(NAME, digests[0])
    assert kept.get(NAME, digests[0]) is first
    for digest in digests[1:]:
        kept.get(NAME, digest)
    assert kept.get(NAME, digests[0]) is not first, "the least recently used one should have gone"


def test_an_artifact_that_arrives_later_is_found(store: ArtifactStore, tmp_path: Path) -> None:
    kept = CheckedArtifacts(store)
    digest = ArtifactStore(tmp_path / "elsewhere").put(manifest("zero_out", 1.0))
    with pytest.raises(Refused):
        kept.get(NAME, digest)
    assert store.put(manifest("zero_out", 1.0)) == digest
    assert kept.get(NAME, digest).artifact.digest == digest
