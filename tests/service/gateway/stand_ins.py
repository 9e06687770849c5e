"""A scripted engine and small stand-ins for what the gateway is built on."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import asynccontextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any, Literal

import uvicorn

from guards.case import Case, Edit, Match, Span
from guards.policy import Epoch, GuardSpec, Policy
from guards.rules import Lack, Rules
from guards.text_filter import Catch, TextFilter
from service.attestation import prove
from service.audit import CaseEntry
from service.control.fence import FenceReason, ReplicaFenced
from service.control.keys import Principal
from service.gateway.readiness import Readiness
from service.gateway.source import Engine

Json = Any
KEY = b"k" * 32
BOOT = "boot-1"
MODEL = "demo"
API_KEY = "lethe_sk_test"


class ToyFilter(TextFilter):
    """The rule of the real filter, slow and obvious: phrases as they are, found by searching."""

    def __init__(self, phrases: dict[str, str]) -> None:
        self.caught = None
        self._phrases = phrases
        self._said = ""
        self._released = 0

    def push(self, delta: str) -> str:
        """Release all but what could still become a phrase."""
        return "".join(map(self._next, delta))

    def _next(self, char: str) -> str:
        if self.caught is not None:
            return ""
        self._said += char
        ended = [(len(self._said) - len(p), p) for p in self._phrases if self._said.endswith(p)]
        if ended:
            start, phrase = min(ended)
            self.caught = Catch(self._phrases[phrase], start)
            return self._until(max(start, self._released))
        return self._until(len(self._said) - self._pending())

    def finish(self) -> str:
        """The rest."""
        return "" if self.caught is not None else self._until(len(self._said))

    def _pending(self) -> int:
        longest = max(map(len, self._phrases), default=0)
        for length in range(min(longest, len(self._said)), 0, -1):
            if any(p.startswith(self._said[-length:]) for p in self._phrases):
                return length
        return 0

    def _until(self, end: int) -> str:
        text, self._released = self._said[self._released : end], max(end, self._released)
        return text


@dataclass(frozen=True)
class ToyRules:
    """Rules with phrases as they are.  phrases: phrase -> policy."""

    epoch: int = 7

    phrases: dict[str, str] = field(default_factory=dict)

    def decide(self, case: Case) -> Case:
        """Match and edit each phrase that the prompt has."""
        for phrase, policy in self.phrases.items():
            start = case.prompt.text.find(phrase)
            if start >= 0:
                span = Span(start, start + len(phrase))
                case = case.matched(Match(policy, 1.0, (span,), "alias"))
                case = case.edited(
                    Edit("embedding_corruption", policy, case.prompt.positions([span]))
                )
        return case

    def names(self, policy: str) -> tuple[str, ...]:
        """The phrases of a policy."""
        return tuple(phrase for phrase, of in self.phrases.items() if of == policy)

    def text_filter(self, tenant: str, model: str) -> TextFilter:
        """A toy filter."""
        return ToyFilter(self.phrases)

    def escalated(self, case: Case, policy: str) -> Case:
        """Edit all content."""
        positions = case.prompt.positions(case.prompt.content)
        return case.matched(Match(policy, 1.0, case.prompt.content, "output")).edited(
            Edit("embedding_corruption", policy, positions)
        )


def rules_of(*guards: GuardSpec, names: tuple[str, ...] = ("Ada Vex",)) -> Rules:
    """Real rules of one policy, which ends in a text filter."""
    policy = Policy("fr_1", names, guards=(*guards, GuardSpec("text_filter")))
    return Rules.build(Epoch(8, (policy,)), None, 0.7)


@dataclass
class ToyReplica:
    """Serves the rules it was given, unless fenced."""

    current: ToyRules | Rules
    fenced: FenceReason | None = None
    lacking: tuple[Lack, ...] = ()
    refusal: FenceReason | None = None

    @property
    def rules(self) -> ToyRules | Rules:
        """The rules."""
        if self.fenced is not None:
            raise ReplicaFenced(self.fenced)
        return self.current


class ToyKeys:
    """Knows one key."""

    def authenticate(self, raw: str, plane: str) -> Principal | None:
        """The tenant "acme" for the one key."""
        return Principal("acme", "key_1", "data") if (raw, plane) == (API_KEY, "data") else None


@dataclass
class ToyAudit:
    """Keeps what is written."""

    entries: list[CaseEntry] = field(default_factory=list)
    healthy: bool = True

    def write(self, entry: CaseEntry) -> None:
        """Keep it."""
        self.entries.append(entry)


@dataclass(frozen=True)
class Asked:
    """One request as the engine got it."""

    path: str
    headers: dict[str, str]
    body: Json

    @property
    def proof(self) -> str:
        """What a guarded engine answers."""
        return prove(KEY, BOOT, self.headers.get("x-lethe-nonce", ""))


Answer = Callable[[Asked, asyncio.StreamWriter], Awaitable[None]]


@dataclass
class FakeEngine:
    """Speaks HTTP/1.1 by hand, so that it can fail in every way.  answer: may be replaced."""

    answer: Answer
    asked: list[Asked] = field(default_factory=list)
    connections: int = 0
    url: str = ""

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.connections += 1
        try:
            while (asked := await _read_request(reader)) is not None:
                self.asked.append(asked)
                await self.answer(asked, writer)
                if writer.is_closing():
                    return
        except (ConnectionError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


async def _read_request(reader: asyncio.StreamReader) -> Asked | None:
    head = await reader.readuntil(b"\r\n\r\n")
    first, *lines = head.decode().split("\r\n")
    pairs = [line.split(": ", 1) for line in lines if line]
    headers = {name.lower(): value for name, value in pairs}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(first.split()[1], headers, json.loads(body) if body else None)


def http(status: int, body: bytes, proof: str | None, kind: str = "application/json") -> bytes:
    """A whole HTTP answer."""
    shown = f"x-lethe-proof: {proof}\r\n" if proof else ""
    head = (
        f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\n{shown}content-length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def chunked(pieces: Sequence[bytes], proof: str | None, *, end: bool = True) -> list[bytes]:
    """The writes of a chunked HTTP answer; without its end if so wanted."""
    shown = f"x-lethe-proof: {proof}\r\n" if proof else ""
    kind = "content-type: text/event-stream\r\n"
    head = f"HTTP/1.1 200 OK\r\n{kind}{shown}transfer-encoding: chunked\r\n\r\n"
    writes = [head.encode(), *(b"%x\r\n%s\r\n" % (len(p), p) for p in pieces if p)]
    return [*writes, b"0\r\n\r\n"] if end else writes


# A body -> for each choice {"content": [...], "reasoning": [...], "calls": [...], "finish": ...}
Says = Callable[[Json], list[Json]]
Cut = Callable[[bytes], Sequence[bytes]]


def scripted(says: Says, *, cut: Cut = lambda data: [data]) -> Answer:
    """An engine that says what the script has, streamed or whole as asked."""

    async def answer(asked: Asked, writer: asyncio.StreamWriter) -> None:
        body = asked.body
        choices = says(body)
        chat = "chat" in asked.path
        if body.get("stream"):
            data = b"".join(_events(choices, chat=chat, usage=_usage(choices)))
            for write in chunked(cut(data), asked.proof):
                writer.write(write)
                await writer.drain()
        else:
            writer.write(http(200, json.dumps(_joined(choices, chat=chat)).encode(), asked.proof))
            await writer.drain()

    return answer


def _usage(choices: list[Json]) -> Json:
    count = sum(len(c.get(kind, [])) for c in choices for kind in ("content", "reasoning"))
    return {
        "prompt_tokens": 5,
        "completion_tokens": count + 1,
        "total_tokens": count + 6,
        "prompt_tokens_details": {"cached_tokens": 3},
    }


def _events(choices: list[Json], *, chat: bool, usage: Json) -> Iterator[bytes]:
    def event(choice: Json | None, **more: Json) -> bytes:
        value = {"id": "engine-id", "model": "x", "choices": [choice] if choice else [], **more}
        return b"data: " + json.dumps(value).encode() + b"\n\n"

    for index, choice in enumerate(choices):
        if chat:
            yield event({"index": index, "delta": {"role": "assistant", "content": ""}})
        for kind in ("reasoning", "content"):
            for text in choice.get(kind, []):
                said = {"delta": {kind: text}} if chat else {"text": text}
                yield event({"index": index, **said, "token_ids": [1], "finish_reason": None})
        for call in choice.get("calls", []):
            yield event({"index": index, "delta": {"tool_calls": [call]}})
        said = {"delta": {}} if chat else {"text": ""}
        finish = choice.get("finish", "stop")
        yield event({"index": index, **said, "finish_reason": finish, "stop_reason": "secret"})
    yield event(None, usage=usage)
    yield b"data: [DONE]\n\n"


def _joined(choices: list[Json], *, chat: bool) -> Json:
    made = []
    for index, choice in enumerate(choices):
        content = "".join(choice.get("content", []))
        said: Json = {"text": content}
        if chat:
            message: Json = {"role": "assistant", "content": content}
            if "reasoning" in choice:
                message["reasoning"] = "".join(choice["reasoning"])
            if "calls" in choice:
                message["tool_calls"] = joined_calls(choice["calls"])
            said = {"message": message}
        finish = choice.get("finish", "stop")
        made.append({"index": index, **said, "finish_reason": finish, "stop_reason": "secret"})
    return {"id": "engine-id", "model": "x", "choices": made, "usage": _usage(choices)}


def joined_calls(deltas: list[Json]) -> list[Json]:
    """Tool calls in one piece."""
    calls: dict[int, Json] = {}
    for delta in deltas:
        empty = {"id": "engine", "type": "function", "function": {"name": "", "arguments": ""}}
        call = calls.setdefault(delta["index"], empty)
        for name, text in delta["function"].items():
            call["function"][name] += text
    return [calls[index] for index in sorted(calls)]


async def joined(gateway: "Gateway", ask: Json, **more: Json) -> Json:
    """An answer in one piece: for each choice text and end, and the usage.

    ask: the messages of a chat, or the prompt of a completion.
    """
    answer = await _creating(gateway, ask)(model=MODEL, **_asking(ask), **more)
    texts = [c.message.content if isinstance(ask, list) else c.text for c in answer.choices]
    ends = [choice.finish_reason for choice in answer.choices]
    return texts, ends, answer.usage.completion_tokens, answer.usage.prompt_tokens


async def streamed(gateway: "Gateway", ask: Json, **more: Json) -> Json:
    """The same of a streamed answer."""
    options = {"stream": True, "stream_options": {"include_usage": True}}
    stream = await _creating(gateway, ask)(model=MODEL, **_asking(ask), **options, **more)
    chunks = [chunk async for chunk in stream]
    n = more.get("n", 1)
    texts, ends = [""] * n, [None] * n
    for choice in (choice for chunk in chunks for choice in chunk.choices):
        text = choice.delta.content if isinstance(ask, list) else choice.text
        texts[choice.index] += text or ""
        ends[choice.index] = choice.finish_reason or ends[choice.index]
    usage = chunks[-1].usage
    return texts, ends, usage.completion_tokens, usage.prompt_tokens


def _creating(gateway: "Gateway", ask: Json) -> Any:
    client = gateway.client
    return client.chat.completions.create if isinstance(ask, list) else client.completions.create


def _asking(ask: Json) -> Json:
    return {"messages": ask} if isinstance(ask, list) else {"prompt": ask}


@dataclass
class Gateway:
    """Everything a test may look at or change.  client: the official one, without retries."""

    url: str
    engine: FakeEngine
    parts: Engine
    replica: ToyReplica
    audit: ToyAudit
    readiness: Readiness

    client: Any  # openai.AsyncOpenAI, whose overloads refuse plain dictionaries

    async def audited(self, count: int = 1) -> list[CaseEntry]:
        """The audit's entries, once there are so many: they are written after the answer."""
        async with asyncio.timeout(5):
            while len(self.audit.entries) < count:  # noqa: ASYNC110
                await asyncio.sleep(0.005)
        return self.audit.entries


@asynccontextmanager
async def running(app: Any, lifespan: Literal["on", "off"] = "off") -> AsyncIterator[str]:
    """The app under uvicorn on a free port: its address."""
    config = uvicorn.Config(app, port=0, log_level="warning", lifespan=lifespan, http="httptools")
    server = uvicorn.Server(config)
    server.capture_signals = nullcontext  # type: ignore[method-assign,assignment]
    task = asyncio.create_task(server.serve())
    while not server.started:  # noqa: ASYNC110  (uvicorn has no event for it)
        await asyncio.sleep(0.005)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = server.force_exit = True
        await task
