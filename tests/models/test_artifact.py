"""Artifacts: what was stored comes back, and nothing else does."""

import secrets
from pathlib import Path

import numpy as np
import pytest

from models.artifact import ArtifactCorrupt, ArtifactMissing, ArtifactStore

KEY = b"k" * 32
NAME = "Ada Quillfeather"
TENSORS = {"phrases": np.frombuffer(NAME.encode(), dtype=np.uint8)}


def blinded() -> dict[str, str]:
    return {"guard": "any", "name": NAME, "blind": secrets.token_hex(32)}


def written(root: Path) -> bytes:
    return b"".join(path.read_bytes() for path in root.rglob("*") if path.is_file())


@pytest.mark.parametrize("sealed", [False, True])
def test_what_was_stored_comes_back(tmp_path: Path, *, sealed: bool) -> None:
    store = ArtifactStore(tmp_path, KEY)
    digest = store.put(blinded(), TENSORS, sealed=sealed)
    found = store.open(digest)
    assert found.manifest["name"] == NAME
    assert found.tensors["phrases"].tobytes() == NAME.encode()
    assert (NAME.encode() in written(tmp_path)) is not sealed


def test_a_sealed_artifact_opens_under_its_key_and_digest_alone(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, KEY)
    first, second = (store.put(blinded(), TENSORS, sealed=True) for _ in range(2))
    for other in (ArtifactStore(tmp_path, b"x" * 32), ArtifactStore(tmp_path)):
        with pytest.raises(ArtifactCorrupt):
            other.open(first)
    folders = [tmp_path / "sha256" / digest.removeprefix("sha256:") for digest in (first, second)]
    for name in ("manifest.sealed", "tensors.sealed"):
        (folders[0] / name).write_bytes((folders[1] / name).read_bytes())
    with pytest.raises(ArtifactCorrupt):
        store.open(first)
    assert store.open(second)


def test_sealing_needs_a_key_and_something_random(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="key"):
        ArtifactStore(tmp_path).put(blinded(), TENSORS, sealed=True)
    with pytest.raises(ValueError, match="blind"):
        ArtifactStore(tmp_path, KEY).put({"name": NAME}, TENSORS, sealed=True)


def test_missing_and_tampered_artifacts_are_told_apart(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    digest = store.put({"a": 1})
    with pytest.raises(ArtifactMissing):
        store.open("sha256:" + "0" * 64)
    path = tmp_path / "sha256" / digest.removeprefix("sha256:") / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"1", b"2"))
    with pytest.raises(ArtifactCorrupt):
        store.open(digest)
