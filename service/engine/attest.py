"""``--middleware service.engine.attest.Door``: proof on every answer, few routes, the status."""

import asyncio
import hmac
import json
import logging
import secrets
from typing import Any

from service.admission import PREFIX, Refused
from service.attestation import (
    NONCE_HEADER,
    SIGNATURE_HEADER,
    App,
    AttestingApp,
    Receive,
    Scope,
    Send,
    sign_nonce,
)
from service.engine import vllm_0_32 as seams
from service.engine.plugin import giving_way, installed_version
from service.engine.scoring import scores
from service.scoring import LARGEST_BODY, AskedScores
from service.scoring import PATH as SCORE
from service.settings import Settings

log = logging.getLogger(__name__)

STATUS = "/lethe/status"
PRELOAD = "/lethe/preload"
# vLLM serves much more, some of it even without its own API key.  A gateway needs only these.
_SERVED = {
    "/health",
    "/metrics",
    "/version",
    "/v1/models",
    "/v1/chat/completions",
    "/v1/completions",
}
_LARGEST_BODY = 1 << 20
_PRELOAD_POLLS, _PRELOAD_PAUSE_S = 600, 0.05


class NotGuarded(RuntimeError):
    """This process answers requests without admission."""


class Door:
    """ASGI middleware around vLLM's API.  The boot id is new in each process.

    Raises NotGuarded where admission is not installed: then the API does not come up.
    """

    def __init__(self, app: App) -> None:
        if not seams.admission_installed():
            raise NotGuarded("Lethe's admission is not installed in this process")
        self._key = Settings().engine_key()
        self._boot_id = secrets.token_hex(16)
        self._app = app
        self._attesting = AttestingApp(self._answer, self._key, self._boot_id)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            await self._attesting(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path")
        if scope["type"] != "http" or path in _SERVED:
            await self._app(scope, receive, send)
        elif path in (STATUS, PRELOAD, SCORE) and self._asked_by_gateway(scope):
            await self._administer(scope, receive, send)
        else:
            await _reply(send, 404, {"error": {"message": "lethe: not served", "code": 404}})

    def _asked_by_gateway(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        nonce = headers.get(NONCE_HEADER.encode(), b"").decode("latin-1")
        given: bytes = headers.get(SIGNATURE_HEADER.encode(), b"")
        wanted = sign_nonce(self._key, scope["path"], nonce).encode()
        return bool(nonce) and hmac.compare_digest(given, wanted)

    async def _administer(self, scope: Scope, receive: Receive, send: Send) -> None:
        engine = scope["app"].state.engine_client
        if scope["path"] == STATUS:
            workers = await engine.collective_rpc("lethe_status")
            status = {"vllm": installed_version(), "boot_id": self._boot_id, "workers": workers}
            await _reply(send, 200, status)
            return
        if scope["path"] == SCORE:
            await self._score(engine, await _body(receive, LARGEST_BODY), send)
            return
        wanted = _artifacts_named(await _body(receive))
        if wanted is None:
            await _reply(send, 400, {"error": {"message": "lethe: artifacts", "code": 400}})
            return
        # One process after the other: both at once would take two cores from the engine's step.
        ready = await asyncio.to_thread(_prepare_here, wanted)
        ready = ready and await _prepared_there(engine, wanted)
        await _reply(send, 200, {"ready": ready})

    async def _score(self, engine: Any, body: bytes, send: Send) -> None:
        try:
            answer = await scores(engine, AskedScores.of_body(body), self._key)
        except ValueError as error:
            said = str(error) if isinstance(error, Refused) else f"{PREFIX} {error}"
            await _reply(send, 400, {"error": {"message": said, "code": 400}})
        except Exception as error:  # noqa: BLE001 - the door: no text of an unknown error goes out
            log.error("scoring failed: %s", type(error).__name__)
            await _reply(send, 500, {"error": {"message": f"{PREFIX} not scored", "code": 500}})
        else:
            await _reply(send, 200, answer)


def _prepare_here(wanted: list[list[str]]) -> bool:
    for guard, digest in wanted:
        try:
            with giving_way():
                seams.prepare_here(guard, digest)
        except (ValueError, TypeError):  # the request that needs it will be refused
            return False
    return True


async def _prepared_there(engine: Any, wanted: list[list[str]]) -> bool:
    """Whether all workers have bound all of it in time."""
    for _ in range(_PRELOAD_POLLS):
        workers = await engine.collective_rpc("lethe_preload", args=(wanted,))
        if all(done >= len(wanted) for done, _ in workers):
            return all(bound == len(wanted) for _, bound in workers)
        await asyncio.sleep(_PRELOAD_PAUSE_S)
    return False


def _artifacts_named(body: bytes) -> list[list[str]] | None:
    """The pairs of guard and digest in ``{"artifacts": [[guard, digest], ...]}``."""
    try:
        wanted = json.loads(body)["artifacts"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(wanted, list) or not all(_is_pair(pair) for pair in wanted):
        return None
    return wanted


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)
    )


async def _body(receive: Receive, most: int = _LARGEST_BODY) -> bytes:
    """The request's body; empty where it is larger than any that we send."""
    body = bytearray()
    while len(body) <= most:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return bytes(body)
    return b""


async def _reply(send: Send, status: int, value: Any) -> None:
    body = json.dumps(value).encode()
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
