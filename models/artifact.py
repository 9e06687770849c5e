"""Content-addressed artifacts: a JSON manifest and, where needed, tensors as safetensors.

Layout under one root: ``sha256/<hex>/manifest.json`` and ``sha256/<hex>/tensors.safetensors``.
The digest is SHA-256 of the manifest's bytes; the manifest holds the digest of the tensors.
The manifest is renamed into place last, so an artifact that can be opened is complete.
"""

import hashlib
import json
import os
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load as load_tensors
from safetensors.numpy import save as save_tensors

Json = Any
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class ArtifactMissing(LookupError):
    """No artifact of that digest lies under the root."""


class ArtifactCorrupt(ValueError):
    """An artifact's bytes do not have the digest that they are filed under."""


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
    """Artifacts under one directory.  Safe for many readers and writers in many processes."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def put(
        self,
        manifest: Mapping[str, Json],
        tensors: Mapping[str, np.ndarray[Any, Any]] | None = None,
    ) -> str:
        """Store durably and return the digest.  Storing the same content again changes nothing."""
        blob = save_tensors(dict(tensors)) if tensors else None
        body = canonical_json({**manifest, "tensors": digest_of(blob) if blob else None})
        digest = digest_of(body)
        folder = self._folder(digest)
        if not (folder / "manifest.json").exists():
            folder.mkdir(parents=True, exist_ok=True)
            if blob:
                _write_durably(folder / "tensors.safetensors", blob)
            _write_durably(folder / "manifest.json", body)
        return digest

    def open(self, digest: str) -> Artifact:
        """Read and verify.  Raises ArtifactMissing, ArtifactCorrupt, or ValueError (bad digest)."""
        folder = self._folder(digest)
        body = _read(folder / "manifest.json", digest)
        if digest_of(body) != digest:
            raise ArtifactCorrupt(digest)
        manifest = json.loads(body)
        tensors: Mapping[str, np.ndarray[Any, Any]] = {}
        if manifest["tensors"] is not None:
            blob = _read(folder / "tensors.safetensors", digest)
            if digest_of(blob) != manifest["tensors"]:
                raise ArtifactCorrupt(digest)
            tensors = load_tensors(blob)
        return Artifact(digest, manifest, tensors)

    def _folder(self, digest: str) -> Path:
        if not _DIGEST.fullmatch(digest):
            raise ValueError("not an artifact digest")
        return self.root / "sha256" / digest.removeprefix("sha256:")


def _read(path: Path, digest: str) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError as error:
        raise ArtifactMissing(digest) from error


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
