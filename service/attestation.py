"""How an engine proves, on every answer, that the plugin stands at its door.

A gateway sends a fresh nonce; the engine's ASGI middleware answers with its boot id and an HMAC
over both under the shared key.  An engine without the plugin cannot, so nothing it says is
released.  A boot id that the gateway's canary has not passed yet is not trusted either.
"""

import hashlib
import hmac
import secrets
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

NONCE_HEADER = "x-lethe-nonce"
PROOF_HEADER = "x-lethe-proof"
SIGNATURE_HEADER = "x-lethe-signature"

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]


def new_nonce() -> str:
    """What a gateway asks to be proven over."""
    return secrets.token_hex(16)


def prove(key: bytes, boot_id: str, nonce: str) -> str:
    """The proof header's value: ``boot_id.hex(HMAC)``."""
    mac = hmac.new(key, f"lethe proof v1\0{boot_id}\0{nonce}".encode(), hashlib.sha256)
    return f"{boot_id}.{mac.hexdigest()}"


def proven_boot_id(key: bytes, nonce: str, proof: str | None) -> str | None:
    """The engine's boot id, or None where the proof is absent or wrong."""
    boot_id, _, mac = (proof or "").partition(".")
    if mac and hmac.compare_digest(prove(key, boot_id, nonce), f"{boot_id}.{mac}"):
        return boot_id
    return None


def sign_nonce(key: bytes, path: str, nonce: str) -> str:
    """The signature header's value: lets a gateway ask an engine for what only it may know.

    It says nothing but that the asker holds the key, so only harmless answers may hang on it.
    """
    return hmac.new(key, f"lethe asks v1\0{path}\0{nonce}".encode(), hashlib.sha256).hexdigest()


class AttestingApp:
    """ASGI middleware of an engine: adds the proof to each answer to a request with a nonce."""

    def __init__(self, app: App, key: bytes, boot_id: str) -> None:
        self.app = app
        self.key = key
        self.boot_id = boot_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        nonce = _header(scope, NONCE_HEADER) if scope["type"] == "http" else None
        if nonce is None:
            await self.app(scope, receive, send)
            return
        proof = prove(self.key, self.boot_id, nonce)

        async def send_with_proof(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                headers = [*message.get("headers", ()), (PROOF_HEADER.encode(), proof.encode())]
                message = {**message, "headers": headers}
            await send(message)

        await self.app(scope, receive, send_with_proof)


def _header(scope: Scope, name: str) -> str | None:
    wanted = name.encode()
    return next((value.decode("latin-1") for key, value in scope["headers"] if key == wanted), None)
