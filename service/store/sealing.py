"""Sealing: the forget list is encrypted before it reaches the database."""

import hashlib
import hmac
import json
import secrets
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from models.artifact import canonical_json

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
