"""Artifacts kept behind a URL: the same answers, checked copies, nothing believed."""

import secrets
from pathlib import Path

import fsspec
import numpy as np
import pytest

from models.artifact import ArtifactCorrupt, ArtifactMissing, ArtifactStore

KEY = b"k" * 32
TENSORS = {"x": np.arange(50, dtype=np.float32)}


@pytest.fixture(params=["memory", "file"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "file":
        return f"file://{tmp_path}/remote"
    return f"memory://{secrets.token_hex(8)}"


def _flip_a_bit_there(url: str, digest: str, file: str) -> None:
    files, root = fsspec.core.url_to_fs(url)
    path = f"{root}/sha256/{digest.removeprefix('sha256:')}/{file}"
    content = bytearray(files.cat_file(path))
    content[len(content) // 2] ^= 1
    files.pipe_file(path, bytes(content))


@pytest.mark.parametrize("sealed", [False, True])
def test_what_one_machine_stored_another_opens(tmp_path: Path, url: str, *, sealed: bool) -> None:
    here = ArtifactStore(tmp_path / "here", KEY, url)
    digest = here.put({"blind": secrets.token_hex(32)}, TENSORS, sealed=sealed)
    there = ArtifactStore(tmp_path / "there", KEY, url)
    assert there.size(digest) == here.size(digest) > 0
    for store in (here, there):
        np.testing.assert_array_equal(store.open(digest).tensors["x"], TENSORS["x"])
    assert digest == ArtifactStore(tmp_path / "path", KEY).put(
        {**here.open(digest).manifest, "tensors": None}, TENSORS, sealed=sealed
    )


def test_a_copy_is_used_and_a_damaged_one_is_fetched_again(tmp_path: Path, url: str) -> None:
    store = ArtifactStore(tmp_path / "copies", KEY, url)
    digest = store.put({"kind": "x"}, TENSORS)
    copy = tmp_path / "copies/sha256" / digest.removeprefix("sha256:") / "tensors.safetensors"
    copy.write_bytes(copy.read_bytes()[:-1] + b"!")
    np.testing.assert_array_equal(store.open(digest).tensors["x"], TENSORS["x"])
    _flip_a_bit_there(url, digest, "tensors.safetensors")
    np.testing.assert_array_equal(store.open(digest).tensors["x"], TENSORS["x"])


@pytest.mark.parametrize("file", ["manifest.json", "tensors.safetensors"])
def test_what_was_changed_there_is_not_believed(tmp_path: Path, url: str, file: str) -> None:
    digest = ArtifactStore(tmp_path / "here", KEY, url).put({"kind": "x"}, TENSORS)
    _flip_a_bit_there(url, digest, file)
    with pytest.raises(ArtifactCorrupt):
        ArtifactStore(tmp_path / "there", KEY, url).open(digest)


def test_what_is_not_there_is_missing_and_what_was_removed_too(tmp_path: Path, url: str) -> None:
    here, there = (ArtifactStore(tmp_path / name, KEY, url) for name in ("here", "there"))
    with pytest.raises(ArtifactMissing):
        there.open("sha256:" + "0" * 64)
    digest = here.put({"kind": "x"}, TENSORS)
    there.open(digest)
    here.remove(digest)
    here.remove(digest)
    with pytest.raises(ArtifactMissing):
        here.open(digest)
    assert there.open(digest)  # its copy: docs/replicas.md
    there.forget_copies()
    with pytest.raises(ArtifactMissing):
        there.open(digest)


def test_a_store_on_a_path_has_no_copies_to_forget(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path, KEY)
    digest = store.put({"kind": "x"})
    store.forget_copies()
    assert store.open(digest)
