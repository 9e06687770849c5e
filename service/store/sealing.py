"""Sealing: the forget list is encrypted before it reaches the database.

Each forget request has a data key of its own (service/store/data_keys.py).  Once that is destroyed,
nothing that was sealed for the request can be read again, wherever a copy of it lies.
"""

import hashlib
import hmac
import json
import secrets
from collections.abc import Collection, Mapping
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection

from models.artifact import canonical_json
from service.store.data_keys import DataKeys

_NONCE_BYTES = 12


class SealBroken(ValueError):
    """The value was sealed under another key, for another place, or has been changed."""


class Seal:
    """AES-256-GCM over JSON values, each bound to the one place where it may stand.

    secret: at least 32 bytes, the same in every process of one installation.
    """

    def __init__(self, secret: bytes) -> None:
        self._cipher = AESGCM(hmac.digest(secret, b"lethe store seal v1", hashlib.sha256))
        self._hash_key = hmac.digest(secret, b"lethe store hash v1", hashlib.sha256)

    def close(self, place: str, value: Any) -> bytes:
        """The value, readable only with the secret and only at this place (``table/row``)."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, canonical_json(value), place.encode())

    def open(self, place: str, sealed: bytes) -> Any:
        """What ``close`` was given.  Raises SealBroken."""
        nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            return json.loads(self._cipher.decrypt(nonce, body, place.encode()))
        except (InvalidTag, ValueError) as error:
            raise SealBroken(place) from error

    def hash(self, place: str, data: bytes) -> str:
        """A keyed hash (hex): equal for equal data, and no dictionary reverses it."""
        message = place.encode() + b"\0" + data
        return hmac.new(self._hash_key, message, hashlib.sha256).hexdigest()


class RequestSeals:
    """Seals values under the data key of the forget request that they belong to.

    installation: what belongs to no request, and outlives every one: keyed hashes.  connection:
    the transaction in which the sealed value is read or written.
    """

    def __init__(self, keys: DataKeys, installation: Seal) -> None:
        self.keys = keys
        self.installation = installation

    def close(self, connection: Connection, request_id: str, place: str, value: Any) -> bytes:
        """As ``Seal.close``; the request gets its key with the first value.

        Raises KeyUnavailable.
        """
        return Seal(self.keys.ensure(connection, request_id)).close(place, value)

    def open(self, connection: Connection, request_id: str, place: str, sealed: bytes) -> Any:
        """As ``Seal.open``.  Raises SealBroken, KeyUnavailable."""
        return opened(self.of(connection, (request_id,)), request_id, place, sealed)

    def of(self, connection: Connection, request_ids: Collection[str]) -> Mapping[str, Seal]:
        """The seals of those requests that have a key.  Raises KeyUnavailable."""
        found = self.keys.find(connection, request_ids)
        return {request_id: Seal(key) for request_id, key in found.items()}

    def shred(self, connection: Connection, request_id: str) -> None:
        """Make everything that was sealed for the request unreadable, with this transaction."""
        self.keys.destroy(connection, request_id)


def opened(seals: Mapping[str, Seal], request_id: str, place: str, sealed: bytes) -> Any:
    """Open with the request's seal.  Raises SealBroken, also where its key was destroyed."""
    seal = seals.get(request_id)
    if seal is None:
        raise SealBroken(place)
    return seal.open(place, sealed)
