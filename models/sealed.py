"""Sealing artifacts that hold something of what is to be forgotten: unreadable without the key."""

import hashlib
import hmac
import secrets

_NONCE_BYTES = 12


class SealBroken(ValueError):
    """The bytes were sealed under another key, under another digest, or have been changed."""


class Seal:
    """AES-256-GCM under a key derived from the store's."""

    def __init__(self, key: bytes) -> None:
        # Not with the module: whoever keeps no sealed artifacts needs no such library.
        from cryptography.hazmat.primitives.ciphers.aead import AESGCM

        self._cipher = AESGCM(hmac.digest(key, b"lethe artifact seal v1", hashlib.sha256))

    def close(self, data: bytes, digest: str) -> bytes:
        """The data sealed, bound to the digest under which it is filed."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self._cipher.encrypt(nonce, data, digest.encode())

    def unseal(self, sealed: bytes, digest: str) -> bytes:
        """What ``close`` was given.  Raises SealBroken."""
        from cryptography.exceptions import InvalidTag

        nonce, body = sealed[:_NONCE_BYTES], sealed[_NONCE_BYTES:]
        try:
            opened: bytes = self._cipher.decrypt(nonce, body, digest.encode())
        except (InvalidTag, ValueError) as error:
            raise SealBroken(digest) from error
        return opened
