"""What the in-process engine says about itself, and artifacts opened ahead of their use."""

import asyncio
import hmac
import json
import logging
import time
from typing import Any

from models.local_engine import LocalEngine
from service.acting import Bindings
from service.admission import Refused
from service.attestation import NONCE_HEADER, SIGNATURE_HEADER, Receive, Scope, Send, sign_nonce
from service.local import wire
from service.local.edits import CAPABILITIES
from service.local.http import read_body, reply
from service.local.scoring import Scoring
from service.local.turns import Turns
from service.scoring import PATH
from service.settings import Settings

log = logging.getLogger(__name__)

_NOT_FOUND = wire.error(404, "lethe: not served", "NotFoundError")


class Admin:
    """The routes besides generation; those under /lethe only for a gateway."""

    def __init__(
        self,
        settings: Settings,
        engine: LocalEngine,
        bindings: Bindings,
        turns: Turns,
        scoring: Scoring,
        key: bytes,
        boot_id: str,
    ) -> None:
        self._settings = settings
        self._scale = engine.embedding_rms
        self._bindings = bindings
        self._turns = turns
        self._scoring = scoring
        self._key = key
        self._boot_id = boot_id
        self._created = int(time.time())

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request that is not a generation."""
        asked = (scope["method"], scope["path"])
        if asked == ("GET", "/health"):
            await reply(send, 200, {})
        elif asked == ("GET", "/v1/models"):
            await reply(send, 200, self._models())
        elif asked == ("GET", "/lethe/status") and self._asked_by_gateway(scope):
            await reply(send, 200, self._status())
        elif asked == ("POST", "/lethe/preload") and self._asked_by_gateway(scope):
            await self._preload(receive, send)
        elif asked == ("POST", PATH) and self._asked_by_gateway(scope):
            body = await read_body(receive)
            await reply(send, 200, await asyncio.to_thread(self._scoring.answer, body))
        else:
            await reply(send, 404, _NOT_FOUND)

    def _models(self) -> wire.Json:
        model = {
            "id": self._settings.served_model_name,
            "object": "model",
            "created": self._created,
            "owned_by": "lethe",
            "root": self._settings.served_model_name,
            "parent": None,
            "max_model_len": self._settings.max_model_len,
            "permission": [],
        }
        return {"object": "list", "data": [model]}

    def _status(self) -> wire.Json:
        worker = {
            "runner": "local",
            "scale": self._scale,
            "capabilities": CAPABILITIES.to_json(),
            "counts": {},
            "running": self._turns.running,
            "waiting": self._turns.waiting,
        }
        return {"engine": "local", "boot_id": self._boot_id, "workers": [worker]}

    async def _preload(self, receive: Receive, send: Send) -> None:
        wanted = _artifacts_named(await read_body(receive))
        if wanted is None:
            await reply(send, 400, wire.error(400, "lethe: artifacts", "BadRequestError"))
            return
        await reply(send, 200, {"ready": await asyncio.to_thread(self._bind_all, wanted)})

    def _bind_all(self, wanted: list[list[str]]) -> bool:
        try:
            for guard, digest in wanted:
                self._bindings.get(guard, digest)
        except Refused:  # asked for ahead of time; the request that needs it will be refused
            log.warning("an artifact could not be preloaded")
            return False
        return True

    def _asked_by_gateway(self, scope: Scope) -> bool:
        headers = dict(scope["headers"])
        nonce = headers.get(NONCE_HEADER.encode(), b"").decode("latin-1")
        given: bytes = headers.get(SIGNATURE_HEADER.encode(), b"")
        wanted = sign_nonce(self._key, scope["path"], nonce).encode()
        return bool(nonce) and hmac.compare_digest(given, wanted)


def _artifacts_named(body: bytes) -> list[list[str]] | None:
    """The pairs of guard and digest in ``{"artifacts": [[guard, digest], ...]}``."""
    try:
        wanted: Any = json.loads(body)["artifacts"]
    except (ValueError, KeyError, TypeError):
        return None
    if isinstance(wanted, list) and all(_is_pair(pair) for pair in wanted):
        return wanted
    return None


def _is_pair(value: object) -> bool:
    return (
        isinstance(value, list) and len(value) == 2 and all(isinstance(part, str) for part in value)
    )
