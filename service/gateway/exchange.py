"""One HTTP exchange over raw ASGI: what came in, and the ways to answer."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

import msgspec

from service.errors import ApiError, invalid

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

BODY_S = 30.0  # a body that takes longer is not worth waiting for
WRITE_S = 30.0  # a client that does not read for so long is gone


class ClientGone(Exception):
    """The client has hung up, or stopped reading."""


class Exchange:
    """One request and its answer."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._receive = receive
        self._send = send
        self.path: str = scope["path"]
        self.method: str = scope["method"]
        self._headers = {k.decode("latin-1"): v.decode("latin-1") for k, v in scope["headers"]}
        self.started = self.first_seen = False

    def bearer(self) -> str | None:
        """The API key, or None."""
        scheme, _, key = self._headers.get("authorization", "").partition(" ")
        return key.strip() or None if scheme.lower() == "bearer" else None

    async def body(self, largest: int) -> bytes:
        """All of the body.  Raises ApiError for one that is too large, compressed or too slow."""
        if self._headers.get("content-encoding", "identity").lower() != "identity":
            raise ApiError(415, "Compressed request bodies are not accepted.")
        declared = self._headers.get("content-length", "0")
        if declared.isdigit() and int(declared) > largest:
            raise _too_large(largest)
        try:
            async with asyncio.timeout(BODY_S):
                return await self._read(largest)
        except TimeoutError as error:
            raise ApiError(408, "The request body took too long to arrive.") from error

    async def _read(self, largest: int) -> bytes:
        pieces: list[bytes] = []
        size = 0
        while True:
            message = await self._receive()
            if message["type"] == "http.disconnect":
                raise ClientGone
            pieces.append(message.get("body", b""))
            size += len(pieces[-1])
            if size > largest:
                raise _too_large(largest)
            if not message.get("more_body", False):
                return b"".join(pieces)

    async def gone(self) -> None:
        """Returns when the client hangs up.  Only after the body was read."""
        while (await self._receive())["type"] != "http.disconnect":
            pass

    async def answer(
        self, status: int, body: bytes, headers: Mapping[str, str] | None = None
    ) -> None:
        """A whole answer of JSON."""
        length = {"content-length": str(len(body))}
        await self._start(status, {"content-type": "application/json", **length, **(headers or {})})
        await self._write({"type": "http.response.body", "body": body})

    async def refuse(self, error: ApiError) -> None:
        """An error, in OpenAI's shape."""
        await self.answer(error.status, msgspec.json.encode(error.body), error.headers)

    async def event(self, data: bytes) -> None:
        """Some events of a stream, which begins with the first."""
        if not self.started:
            headers = {"content-type": "text/event-stream; charset=utf-8"}
            await self._start(200, {**headers, "cache-control": "no-store"})
        await self._write({"type": "http.response.body", "body": data, "more_body": True})

    async def end(self) -> None:
        """The end of a stream."""
        await self._write({"type": "http.response.body", "body": b""})

    async def _start(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        raw = [(k.encode(), v.encode()) for k, v in headers.items()]
        await self._write({"type": "http.response.start", "status": status, "headers": raw})

    async def _write(self, message: Message) -> None:
        try:
            async with asyncio.timeout(WRITE_S):
                await self._send(message)
        except (TimeoutError, OSError) as error:
            raise ClientGone from error


def _too_large(largest: int) -> ApiError:
    error = invalid(None, f"The request body must be at most {largest} bytes.", "request_too_large")
    error.status = 413
    return error
