"""What is asked of every target, and what that costs it."""

import asyncio
import json
import random
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from benchmarks.endpoint import quantile
from benchmarks.gateway.upstream import CHUNKS, SENT, WORD

CONCURRENT = 16
_TEXT = (
    "The committee met on a wet morning and went through the figures of the last quarter line by "
    "line, since somebody had asked where the difference came from and nobody could say. "
)
PROMPT = (_TEXT * 10)[:1500]


@dataclass(frozen=True)
class Target:
    """A server that chats.  pids: all processes whose cost is counted.  key: of its API."""

    name: str
    url: str
    upstream: str
    pids: Callable[[], list[int]]
    key: str = "none"


class Spent(NamedTuple):
    """cpu_us: of all processes of the target, microseconds.  wall_s: from the client's side."""

    cpu_us: float
    wall_s: float


def cpu_ns(pids: list[int]) -> int:
    """Time on a processor so far, nanoseconds, over all threads of the processes that live."""
    total = 0
    for pid in pids:
        for task in Path(f"/proc/{pid}/task").glob("*/schedstat"):
            try:
                total += int(task.read_text().split()[0])
            except (FileNotFoundError, ProcessLookupError):
                continue
    return total


def resident_mib(pids: list[int]) -> float:
    """Resident memory of the processes."""
    total = 0
    for pid in pids:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
    return total / 1024


class Client:
    """Asks one target.  Use it as a context manager."""

    def __init__(self, target: Target) -> None:
        self.target = target

    async def __aenter__(self) -> "Client":
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0),
            headers={"authorization": f"Bearer {self.target.key}"},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def whole(self) -> float:
        """One answer in one piece: seconds.  Raises RuntimeError for any but a right one."""
        began = time.perf_counter()
        async with self._asked(PROMPT, stream=False) as answer:
            said = json.loads(await answer.read())
        took = time.perf_counter() - began
        if answer.status != 200 or not said["choices"][0]["message"]["content"]:
            raise RuntimeError(f"{self.target.name} answered {answer.status}")
        return took

    async def streamed(self) -> None:
        """One streamed answer, its chunks all at once.  Raises RuntimeError if it is not whole."""
        text = ""
        async for piece, _ in self._pieces(PROMPT):
            text += piece
        if text.count(WORD.strip()) != CHUNKS:
            raise RuntimeError(f"{self.target.name} lost some of a stream")

    async def paced(self) -> list[float]:
        """One streamed answer in its own time: for each of its words, seconds since it was sent.

        A word that is held back counts until it comes.
        """
        name = "".join(random.choices("abcdefghijklmnopqrstuvwxyz", k=12))
        came: list[float] = []
        text = ""
        async for piece, now in self._pieces(f"{PROMPT} paced stream {name}"):
            text += piece
            came += [now] * (text.count(WORD.strip()) - len(came))
        async with self._session.get(f"{self.target.upstream}{SENT}{name}") as answer:
            sent = json.loads(await answer.read())
        return [now - when / 1e9 for now, when in zip(came, sent, strict=True)]

    async def _pieces(self, prompt: str) -> AsyncIterator[tuple[str, float]]:
        async with self._asked(prompt, stream=True) as answer:
            async for line in answer.content:
                if not line.startswith(b"data: {"):
                    continue
                choices = json.loads(line[6:])["choices"]
                if choices and (text := choices[0].get("delta", {}).get("content")):
                    yield text, time.monotonic()

    def _asked(self, prompt: str, *, stream: bool) -> Any:
        body = {
            "model": "demo",
            "messages": [{"role": "user", "content": prompt}],
            "stream": stream,
        }
        return self._session.post(f"{self.target.url}/v1/chat/completions", json=body)


async def many(target: Target, count: int, ask: Callable[[Client], Any], at_once: int) -> Spent:
    """So many questions, some at once."""
    async with Client(target) as client:
        left = iter(range(count))

        async def worker() -> None:
            for _ in left:
                await ask(client)

        before, began = cpu_ns(target.pids()), time.perf_counter()
        await asyncio.gather(*(worker() for _ in range(at_once)))
        return Spent((cpu_ns(target.pids()) - before) / 1e3, time.perf_counter() - began)


async def latencies(target: Target, count: int) -> list[float]:
    """One question after the other: seconds each."""
    async with Client(target) as client:
        await client.whole()
        return [await client.whole() for _ in range(count)]


async def hops(target: Target, streams: int) -> tuple[list[float], Spent]:
    """Streams in their own time, four at once: how late each chunk was, and what all cost."""
    found: list[float] = []

    async def ask(client: Client) -> None:
        found.extend(await client.paced())

    spent = await many(target, streams, ask, 4)
    return found, spent


def p(values: list[float], q: float) -> float:
    """A quantile in milliseconds."""
    return quantile(values, q) * 1e3
