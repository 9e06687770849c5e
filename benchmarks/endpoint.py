"""Putting probes to an OpenAI-compatible endpoint in the four ways in which clients ask."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from openai import AsyncOpenAI
from rich.progress import Progress

from models.demo.corpus import Probe

MAX_TOKENS = 48
CONCURRENCY = 16


@dataclass(frozen=True)
class Way:
    """How a client asks: which API, and whether it streams."""

    chat: bool
    stream: bool

    @property
    def name(self) -> str:
        """As shown in tables."""
        return f"{'chat' if self.chat else 'completions'}{', streamed' if self.stream else ''}"


CHAT, COMPLETIONS = Way(chat=True, stream=False), Way(chat=False, stream=False)
WAYS = (CHAT, Way(chat=True, stream=True), COMPLETIONS, Way(chat=False, stream=True))


async def ask(client: AsyncOpenAI, model: str, probe: Probe, way: Way) -> str:
    """The whole greedy answer as text."""
    options: Mapping[str, object] = {"max_tokens": MAX_TOKENS, "temperature": 0, "model": model}
    if way.chat:
        answer = await client.chat.completions.create(  # type: ignore[call-overload]
            messages=probe.messages, stream=way.stream, **options
        )
        if not way.stream:
            return answer.choices[0].message.content or ""
        return "".join([c.choices[0].delta.content or "" async for c in answer if c.choices])
    answer = await client.completions.create(  # type: ignore[call-overload]
        prompt=probe.prompt, stream=way.stream, **options
    )
    if not way.stream:
        return str(answer.choices[0].text)
    return "".join([c.choices[0].text async for c in answer if c.choices])


async def ask_all(
    client: AsyncOpenAI, model: str, probes: Sequence[Probe], way: Way, label: str
) -> list[str]:
    """Every probe's answer, in order, with a progress bar."""
    limit = asyncio.Semaphore(CONCURRENCY)
    with Progress() as progress:
        task = progress.add_task(f"{label}: {way.name}", total=len(probes))

        async def one(probe: Probe) -> str:
            async with limit:
                answer = await ask(client, model, probe, way)
            progress.advance(task)
            return answer

        return list(await asyncio.gather(*map(one, probes)))


def quantile(values: Iterable[float], q: float) -> float:
    """The smallest value that at least the share q of all do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, -(-int(q * 1000) * len(ordered) // 1000) - 1))]
