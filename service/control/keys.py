"""API keys: made, shown once, kept as keyed hashes; data plane and admin plane apart."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from service.store.store import Store

Plane = Literal["data", "admin"]


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.  tenant: "*" for an admin key, which acts for the whole installation."""

    tenant: str
    key_id: str
    plane: Plane


class KeyRing:
    """Knows which keys are valid.  A revocation anywhere takes effect here in under a second."""

    def __init__(self, store: "Store", pepper: bytes) -> None:
        raise NotImplementedError

    def authenticate(self, raw: str, plane: Plane) -> Principal | None:
        """Whose key this is on that plane, or None; in memory, a few microseconds.

        Raises StoreUnavailable where the keys could not be read for a second: answer 503.
        """
        raise NotImplementedError


def ensure_bootstrap_keys(store: "Store", data_dir: Path) -> Path:
    """Make one data and one admin key where the store has none; the path of ``keys.json``.

    The file (owner-only) is ``{"data": "lethe_sk_...", "admin": "lethe_ak_..."}``.
    """
    raise NotImplementedError
