"""The engine behind the gateway: one connection pool, a proof on every answer."""

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import aiohttp
import msgspec

from service.attestation import (
    NONCE_HEADER,
    PROOF_HEADER,
    SIGNATURE_HEADER,
    new_nonce,
    proven_boot_id,
    sign_nonce,
)
from service.gateway.events import EventReader, EventTooLarge
from service.gateway.pieces import Said, read_said
from service.gateway.unavailable import UpstreamFailed

Json = Any
POOL_IDLE_S = 3.5  # servers close an idle connection after 5: never be the one who comes too late
CONNECT_S = 5.0
LARGEST_ANSWER = 1 << 26
_DONE = b"[DONE]"
_FAILURES = (aiohttp.ClientError, TimeoutError, OSError, EventTooLarge)


@dataclass(frozen=True)
class Answer:
    """An answer whose head has come.  boot_id: proven, or None."""

    response: aiohttp.ClientResponse
    boot_id: str | None

    @property
    def status(self) -> int:
        """The HTTP status."""
        return self.response.status

    async def body(self) -> bytes:
        """All of it.  Raises UpstreamFailed."""
        body = bytearray()
        try:
            async for data in self.response.content.iter_any():
                body += data
                if len(body) > LARGEST_ANSWER:
                    raise UpstreamFailed
        except _FAILURES as error:
            raise UpstreamFailed from error
        return bytes(body)

    async def said(self, *, stream: bool) -> AsyncGenerator[Said, None]:
        """What the engine says, in pieces.  Raises UpstreamFailed, also for a missing end."""
        if not stream:
            yield read_said(await self.body())
            return
        reader = EventReader()
        try:
            async for data in self.response.content.iter_any():
                for event in reader.feed(data):
                    if event == _DONE:
                        return
                    yield read_said(event)
        except _FAILURES as error:
            raise UpstreamFailed from error
        raise UpstreamFailed


class Upstream:
    """Asks one engine.  Open it in the event loop that uses it."""

    def __init__(self, url: str, key: bytes, timeout_s: float) -> None:
        self._url = url.rstrip("/")
        self._key = key
        self._timeout = aiohttp.ClientTimeout(total=timeout_s, sock_connect=CONNECT_S)
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        """Make the connection pool."""
        reuse = aiohttp.TraceConfig()
        reuse.on_connection_reuseconn.append(_note_reuse)
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=POOL_IDLE_S),
            timeout=self._timeout,
            trace_configs=[reuse],
            trust_env=False,
            auto_decompress=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    @asynccontextmanager
    async def post(
        self, path: str, body: Mapping[str, Json], *, private: bool = False
    ) -> AsyncIterator[Answer]:
        """Ask; leaving the block ends the answer.  Raises UpstreamFailed where no head comes.

        private: on a route for holders of the key.  No header of a client's is ever sent on.
        """
        nonce = new_nonce()
        headers = {"content-type": "application/json", NONCE_HEADER: nonce}
        if private:
            headers[SIGNATURE_HEADER] = sign_nonce(self._key, path, nonce)
        async with self._answered("POST", path, msgspec.json.encode(body), headers) as answer:
            yield answer

    @asynccontextmanager
    async def get(self, path: str) -> AsyncIterator[Answer]:
        """Ask for what only a holder of the key may know.  Raises UpstreamFailed as ``post``."""
        nonce = new_nonce()
        headers = {NONCE_HEADER: nonce, SIGNATURE_HEADER: sign_nonce(self._key, path, nonce)}
        async with self._answered("GET", path, None, headers) as answer:
            yield answer

    @asynccontextmanager
    async def _answered(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> AsyncIterator[Answer]:
        response = await self._send(method, path, body, headers)
        nonce = headers[NONCE_HEADER]
        try:
            proof = response.headers.get(PROOF_HEADER)
            yield Answer(response, proven_boot_id(self._key, nonce, proof))
        finally:
            # Unread bytes cannot be told from the next answer's: such a connection is not reused.
            response.close() if not response.content.at_eof() else response.release()

    async def _send(
        self, method: str, path: str, body: bytes | None, headers: Mapping[str, str]
    ) -> aiohttp.ClientResponse:
        for attempt in (1, 2):
            connection = SimpleNamespace(reused=False)
            try:
                return await self._request(method, path, body, headers, connection)
            except aiohttp.ClientConnectionError as error:
                # The engine closed an idle connection as we sent: it never saw the request.
                if attempt == 2 or not connection.reused:
                    raise UpstreamFailed from error
            except _FAILURES as error:
                raise UpstreamFailed from error
        raise UpstreamFailed

    async def _request(
        self,
        method: str,
        path: str,
        body: bytes | None,
        headers: Mapping[str, str],
        connection: SimpleNamespace,
    ) -> aiohttp.ClientResponse:
        if self._session is None:
            raise UpstreamFailed
        return await self._session.request(
            method,
            self._url + path,
            data=body,
            headers=headers,
            allow_redirects=False,
            trace_request_ctx=connection,
        )


async def _note_reuse(_: aiohttp.ClientSession, context: SimpleNamespace, __: object) -> None:
    context.trace_request_ctx.reused = True
