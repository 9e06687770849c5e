"""The few things of HTTP that the in-process engine needs, on plain ASGI."""

import json
from collections.abc import Callable
from typing import Any

from service.attestation import Receive, Send
from service.local.body import bad_request

LARGEST_BODY = 16 << 20


class ClientGone(Exception):
    """The client went away before the answer was complete."""


async def read_body(receive: Receive) -> bytes:
    """The request's body.  Raises ClientGone, and ApiError (400) for one that is too large."""
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGone
        body += message.get("body", b"")
        if len(body) > LARGEST_BODY:
            raise bad_request(None, "the body is too large")
        if not message.get("more_body"):
            return bytes(body)


async def until_gone(receive: Receive, tell: Callable[[], object]) -> None:
    """Wait for the client to go away, then tell."""
    while (await receive())["type"] != "http.disconnect":
        pass
    tell()


async def reply(send: Send, status: int, value: Any) -> None:
    """One JSON answer."""
    body = json.dumps(value, ensure_ascii=False).encode()
    headers = [
        (b"content-type", b"application/json"),
        (b"content-length", str(len(body)).encode()),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Events:
    """A stream of server-sent events.  begun: whether its head has gone out."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.begun = False

    async def send(self, *events: bytes) -> None:
        """Send events, in one piece; the head first where it is due."""
        await self._begin()
        if events:
            body = b"".join(events)
            await self._send({"type": "http.response.body", "body": body, "more_body": True})

    async def end(self, *events: bytes) -> None:
        """Send the last events."""
        await self._begin()
        await self._send({"type": "http.response.body", "body": b"".join(events)})

    async def _begin(self) -> None:
        if self.begun:
            return
        self.begun = True
        headers = [(b"content-type", b"text/event-stream; charset=utf-8")]
        await self._send({"type": "http.response.start", "status": 200, "headers": headers})
