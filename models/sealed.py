"""Sealing artifacts that hold something of what is to be forgotten: unreadable without the key."""

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

_NONCE_BYTES = 12


class SealBroken(ValueError):
    """The bytes were sealed under another key, under another digest, or have been changed."""


def close(data: bytes, key: bytes, digest: str) -> bytes:
    """AES-256-GCM over the data, bound to the digest under which it is filed."""
    nonce = secrets.token_bytes(_NONCE_BYTES)
    return nonce + _cipher(key).encrypt(nonce, data, digest.encode())


def unseal(sealed: bytes, key: bytes, digest: str) -> bytes:
    """What ``close`` was given.  Raises SealBroken."""
    from cryptography.exceptions import InvalidTag

    nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
    try:
        opened: bytes = _cipher(key).decrypt(nonce, body, digest.encode())
    except (InvalidTag, ValueError) as error:
        raise SealBroken(digest) from error
    return opened


def _cipher(key: bytes) -> "AESGCM":
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(hmac.digest(key, b"lethe artifact seal v1", hashlib.sha256))
