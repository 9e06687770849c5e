"""Content-addressed artifacts: a JSON manifest and, where needed, tensors as safetensors.

Layout under one root: ``sha256/<hex>/manifest.json`` and ``sha256/<hex>/tensors.safetensors``.
The digest is SHA-256 of the manifest's bytes; the manifest holds the digest of the tensors.
The manifest is renamed into place last, so an artifact that can be opened is complete.

What holds anything of a name is *sealed*: both files are encrypted under the store's key and end in
``.sealed``.  The digest stays that of the plain manifest, which must hold something random then,
or a guessed name could be confirmed by it.
"""

import hashlib
import json
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

from models.sealed import Seal, SealBroken

if TYPE_CHECKING:
    from models.remote_artifacts import RemoteFiles

Json = Any


class _Names(NamedTuple):
    manifest: str
    tensors: str


_PLAIN = _Names("manifest.json", "tensors.safetensors")
_SEALED = _Names("manifest.sealed", "tensors.sealed")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ArtifactMissing(LookupError):
    """No artifact of that digest lies under the root."""


class ArtifactCorrupt(ValueError):
    """An artifact's bytes do not have the digest that they are filed under, or cannot be read."""


@dataclass(frozen=True, slots=True)
class Artifact:
    """One opened artifact.  tensors: name -> array, read-only."""

    digest: str
    manifest: Mapping[str, Json]
    tensors: Mapping[str, np.ndarray[Any, Any]]


def canonical_json(value: Json) -> bytes:
    """The one byte form of a JSON value that digests and signatures are taken over."""
    return json.dumps(
        value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False
    ).encode()


def digest_of(data: bytes) -> str:
    """``sha256:<hex>`` of the bytes."""
    return "sha256:" + hashlib.sha256(data).hexdigest()


class ArtifactStore:
    """Artifacts under one directory.  Safe for many readers and writers in many processes.

    key: for sealed artifacts, at least 32 bytes; without it those can be neither made nor opened.
    remote: a URL that fsspec knows, where they are kept then; the directory holds copies, each of
    which is checked whenever it is opened, and fetched again where it is damaged.
    """

    def __init__(self, root: Path, key: bytes | None = None, remote: str = "") -> None:
        self.root = root
        self._seal = Seal(key) if key else None
        self._remote = _remote_files(remote) if remote else None

    def put(
        self,
        manifest: Mapping[str, Json],
        tensors: Mapping[str, np.ndarray[Any, Any]] | None = None,
        *,
        sealed: bool = False,
    ) -> str:
        """Store durably and return the digest.  Storing the same content again changes nothing.

        sealed: encrypt it.  Raises ValueError where there is no key, or nothing random (``blind``,
        64 hex digits) in the manifest.
        """
        if sealed and (self._seal is None or len(str(manifest.get("blind", ""))) < 64):
            raise ValueError("a sealed artifact needs the store's key and a blind of 32 bytes")
        blob = save_tensors(dict(tensors)) if tensors else None
        body = canonical_json({**manifest, "tensors": digest_of(blob) if blob else None})
        digest = digest_of(body)
        name = _SEALED if sealed else _PLAIN
        files = {name.tensors: self._kept(blob, digest, sealed=sealed)} if blob else {}
        files[name.manifest] = self._kept(body, digest, sealed=sealed)  # last: then it is complete
        folder = self._folder(digest)
        if self._remote is not None and not self._remote.exists(_name(folder, name.manifest)):
            for file, content in files.items():
                self._remote.write(_name(folder, file), content)
        if not (folder / name.manifest).exists():
            _write_all(folder, files)
        return digest

    def open(self, digest: str) -> Artifact:
        """Read and verify.  Raises ArtifactMissing, ArtifactCorrupt, or ValueError (bad digest)."""
        if self._remote is None:
            return self._open(digest)
        try:
            return self._open(digest)
        except (ArtifactMissing, ArtifactCorrupt):
            self._fetch(self._remote, digest)
            return self._open(digest)

    def _fetch(self, remote: "RemoteFiles", digest: str) -> None:
        """Copy it here.  Raises ArtifactMissing, OSError."""
        folder = self._folder(digest)
        sealed = remote.exists(_name(folder, _SEALED.manifest))
        name = _SEALED if sealed else _PLAIN
        files = {}
        with suppress(FileNotFoundError):
            files[name.tensors] = remote.read(_name(folder, name.tensors))
        try:
            files[name.manifest] = remote.read(_name(folder, name.manifest))
        except FileNotFoundError as error:
            raise ArtifactMissing(digest) from error
        _write_all(folder, files)

    def _open(self, digest: str) -> Artifact:
        folder = self._folder(digest)
        sealed = (folder / _SEALED.manifest).exists()
        name = _SEALED if sealed else _PLAIN
        body = self._read(folder / name.manifest, digest, sealed=sealed)
        if digest_of(body) != digest:
            raise ArtifactCorrupt(digest)
        manifest = json.loads(body)
        tensors: Mapping[str, np.ndarray[Any, Any]] = {}
        if manifest["tensors"] is not None:
            blob = self._read(folder / name.tensors, digest, sealed=sealed)
            if digest_of(blob) != manifest["tensors"]:
                raise ArtifactCorrupt(digest)
            tensors = load_tensors(blob)
        return Artifact(digest, manifest, tensors)

    def remove(self, digest: str) -> None:
        """Delete it; of one that is not here nothing changes.  Raises OSError, ValueError.

        The manifest goes first: whatever happens then, it cannot be opened any more.
        """
        folder = self._folder(digest)
        if self._remote is not None:
            for name in (*_PLAIN, *_SEALED):
                self._remote.remove(_name(folder, name))
        for name in (_PLAIN.manifest, _SEALED.manifest):
            (folder / name).unlink(missing_ok=True)
        if folder.exists():
            for left in folder.iterdir():
                left.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                folder.rmdir()

    def size(self, digest: str) -> int:
        """Bytes of its tensors; 0 where it has none or is not here.  Raises ValueError."""
        folder = self._folder(digest)
        for name in (_PLAIN, _SEALED):
            try:
                return (folder / name.tensors).stat().st_size
            except FileNotFoundError:
                continue
        return self._remote_size(folder)

    def _remote_size(self, folder: Path) -> int:
        if self._remote is not None:
            for name in (_PLAIN, _SEALED):
                with suppress(FileNotFoundError):
                    return self._remote.size(_name(folder, name.tensors))
        return 0

    def forget_copies(self) -> None:
        """Delete every copy of what is kept elsewhere: what was removed there would stay here."""
        if self._remote is not None:
            shutil.rmtree(self.root / "sha256", ignore_errors=True)

    def _kept(self, data: bytes, digest: str, *, sealed: bool) -> bytes:
        return self._seal.close(data, digest) if sealed and self._seal else data

    def _read(self, path: Path, digest: str, *, sealed: bool) -> bytes:
        data = _read(path, digest)
        if not sealed:
            return data
        if self._seal is None:
            raise ArtifactCorrupt(digest)
        try:
            return self._seal.unseal(data, digest)
        except SealBroken as error:
            raise ArtifactCorrupt(digest) from error

    def _folder(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise ValueError("not an artifact digest")
        return self.root / "sha256" / digest.removeprefix("sha256:")


def _read(path: Path, digest: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactMissing(digest) from error


def _name(folder: Path, file: str) -> str:
    return f"sha256/{folder.name}/{file}"


def _write_all(folder: Path, files: Mapping[str, bytes]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        _write_durably(folder / name, content)


def _remote_files(url: str) -> "RemoteFiles":
    # Not with the module: stores on a path, which are the usual ones, need no fsspec.
    from models.remote_artifacts import RemoteFiles

    return RemoteFiles(url)


def _write_durably(path: Path, data: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
