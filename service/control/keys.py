"""API keys: made, shown once, kept as keyed hashes; data plane and admin plane apart."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import threading
import time
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, NamedTuple

from service.settings import read_secret
from service.store.api_keys import KeyRecord
from service.store.database import now_ms
from service.store.store import Store

Plane = Literal["data", "admin"]
EVERY_TENANT = "*"

REFRESH_S = 0.5  # how old the known keys may get: a revocation takes effect within it
USE_INTERVAL_S = 60.0  # how exact "last used" is
_PREFIX: Mapping[Plane, str] = {"data": "lethe_sk_", "admin": "lethe_ak_"}
_ID_BYTES, _SECRET_BYTES = 10, 32
_ID_LENGTH, _SECRET_LENGTH, _CHECK_LENGTH = 16, 52, 7


@dataclass(frozen=True, slots=True)
class Principal:
    """Who asks.  tenant: "*" for an admin key, which acts for the whole installation."""

    tenant: str
    key_id: str
    plane: Plane


class NewKey(NamedTuple):
    """A key just made.  raw: the key itself, which is shown once and kept nowhere."""

    raw: str
    record: KeyRecord


def key_id_of(raw: str, plane: Plane) -> str | None:
    """The public id inside a well-formed key of that plane; None for anything else.

    The checksum only tells typing errors from unknown keys; it protects nothing.
    """
    prefix = _PREFIX[plane]
    rest = raw[len(prefix) :]
    length = _ID_LENGTH + _SECRET_LENGTH + _CHECK_LENGTH
    if not raw.startswith(prefix) or len(rest) != length or not rest.isascii():
        return None
    if _checksum(raw[:-_CHECK_LENGTH]) != rest[-_CHECK_LENGTH:]:
        return None
    return f"key_{rest[:_ID_LENGTH]}"


def new_key(
    plane: Plane, tenant: str, pepper: bytes, created_at: int, expires_at: int | None = None
) -> NewKey:
    """Make a key: 256 random bits behind a random id.  Times in Unix ms."""
    public = _base32(secrets.token_bytes(_ID_BYTES))
    body = _PREFIX[plane] + public + _base32(secrets.token_bytes(_SECRET_BYTES))
    raw = body + _checksum(body)
    mac = _mac(pepper, raw)
    return NewKey(raw, KeyRecord(f"key_{public}", mac, plane, tenant, created_at, expires_at))


class KeyRing:
    """Knows which keys are valid.  A revocation anywhere takes effect here in under a second."""

    def __init__(self, store: Store, pepper: bytes) -> None:
        self._store = store
        self._pepper = pepper
        self._records: Mapping[str, KeyRecord] = {}
        self._version = -1
        self._read_at = float("-inf")
        self._used: dict[str, int] = {}
        self._used_written_at = time.monotonic()
        self._lock = threading.Lock()

    def create(self, plane: Plane, tenant: str, by: str, expires_at: int | None = None) -> NewKey:
        """Make and store a key.  Raises StoreUnavailable."""
        key = new_key(plane, tenant, self._pepper, now_ms(), expires_at)
        self._store.api_keys.add(key.record, by)
        self.refresh()
        return key

    def authenticate(self, raw: str, plane: Plane) -> Principal | None:
        """Whose key this is on that plane, or None; in memory, a few microseconds.

        Raises StoreUnavailable where the keys could not be read for so long that a revocation
        could have been missed: answer 503.
        """
        if time.monotonic() - self._read_at > REFRESH_S:
            self.refresh()
        record = self._records.get(key_id_of(raw, plane) or "")
        # The same work for unknown keys: how long it takes says nothing.
        mac = _mac(self._pepper, raw)
        same = hmac.compare_digest(mac, record.mac if record else bytes(len(mac)))
        now = now_ms()
        if record is None or not same or record.plane != plane or not record.valid_at(now):
            return None
        self._used[record.id] = now
        return Principal(record.tenant, record.id, plane)

    def refresh(self) -> None:
        """Read the keys again where they have changed.  Raises StoreUnavailable.

        A replica's thread calls this often enough that ``authenticate`` never has to.
        """
        with self._lock:
            started = time.monotonic()
            version = self._store.api_keys.version()
            if version != self._version:
                records = self._store.api_keys.all()
                self._records = {r.id: r for r in records if r.revoked_at is None}
                self._version = version
            self._read_at = started
            if started - self._used_written_at > USE_INTERVAL_S:
                self._used_written_at = started
                self._write_use()

    def _write_use(self) -> None:
        used, self._used = self._used, {}
        if used:
            self._store.api_keys.note_use(dict(used))  # others may still be writing into it


def ensure_bootstrap_keys(store: Store, data_dir: Path) -> Path:
    """Make one data and one admin key where the store has none; the path of ``keys.json``.

    The file (owner-only) is ``{"data": "lethe_sk_...", "admin": "lethe_ak_..."}``.  Safe in
    several processes at once, and after a crash between file and store.
    """
    path = data_dir / "keys.json"
    known = {record.id for record in store.api_keys.all()}
    if not path.exists():
        if known:
            return path
        _create_file(path)
    pepper = read_secret(data_dir / "pepper.key")
    for plane, raw in _read_file(path).items():
        key_id = key_id_of(raw, plane)
        if key_id is None:
            raise ValueError(f"{path} holds something that is not a key of the {plane} plane")
        if key_id not in known:
            tenant = "default" if plane == "data" else EVERY_TENANT
            record = KeyRecord(key_id, _mac(pepper, raw), plane, tenant, now_ms())
            store.api_keys.add(record, by="bootstrap", keep=True)
    return path


def _read_file(path: Path) -> dict[Plane, str]:
    value = json.loads(path.read_bytes())
    return {"data": str(value["data"]), "admin": str(value["admin"])}


def _create_file(path: Path) -> None:
    # The file first, the store after: whoever finds the file can finish the work.
    keys = {plane: new_key(plane, "", b"", 0).raw for plane in _PREFIX}
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    temporary.touch(mode=0o600)
    with temporary.open("w") as file:
        json.dump(keys, file, indent=2)
        file.write("\n")
        file.flush()
        os.fsync(file.fileno())
    try:
        path.hardlink_to(temporary)  # unlike a rename, never replaces keys made meanwhile
    except FileExistsError:
        pass
    finally:
        temporary.unlink()


def _mac(pepper: bytes, raw: str) -> bytes:
    return hmac.digest(pepper, raw.encode("utf-8", "surrogatepass"), hashlib.sha256)


def _checksum(body: str) -> str:
    return _base32(zlib.crc32(body.encode()).to_bytes(4))


def _base32(data: bytes) -> str:
    return base64.b32encode(data).decode().rstrip("=").lower()
