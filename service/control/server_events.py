"""Server-sent events (the HTML standard's event streams): what is sent, and for how long."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

from fastapi.responses import StreamingResponse

POLL_S = 0.25
HEARTBEAT_S = 10.0


@dataclass(frozen=True, slots=True)
class ServerEvent:
    """One event.  id: what ``Last-Event-ID`` names; None where it is not worth resuming from."""

    name: str
    data: Any
    id: int | None = None

    def encoded(self) -> bytes:
        """Its lines."""
        number = "" if self.id is None else f"id: {self.id}\n"
        data = json.dumps(self.data, separators=(",", ":"), default=str)
        return f"{number}event: {self.name}\ndata: {data}\n\n".encode()


class Look(NamedTuple):
    """What one look at the store gave.  last: whether nothing can follow."""

    events: list[ServerEvent]
    last: bool


Next = Callable[[], Awaitable[Look]]


def event_stream(look: Next, ending: Callable[[], bool]) -> StreamingResponse:
    """Look again and again, until nothing can follow, the client is gone or the process ends.

    look: gives what came since it was last called.  A comment is sent when there was nothing to
    send for ten seconds, so that nobody between takes the connection for dead.
    """
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_events(look, ending), media_type="text/event-stream", headers=headers)


async def _events(look: Next, ending: Callable[[], bool]) -> AsyncIterator[bytes]:
    clock = asyncio.get_running_loop().time
    quiet_since = clock()
    while not ending():
        found = await look()
        for event in found.events:
            yield event.encoded()
        if found.last:
            return
        if found.events:
            quiet_since = clock()
        elif clock() - quiet_since >= HEARTBEAT_S:
            quiet_since = clock()
            yield b": still here\n\n"
        await asyncio.sleep(POLL_S)
