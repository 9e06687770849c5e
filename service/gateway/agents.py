"""The model that agents speak through: any OpenAI-compatible one, or the gateway's own engine."""

import asyncio
import secrets
from collections.abc import AsyncIterator, Mapping
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import aiohttp
import msgspec

from guards.case import Case
from models.chat_prompt import InvalidPrompt, PromptRenderer
from models.conversation import Message
from service.errors import ApiError
from service.gateway.asking import said
from service.gateway.pieces import CONTENT, Said, read_said
from service.gateway.prepare import to_prompt
from service.gateway.trust import EngineTrust
from service.gateway.unavailable import GuardUnavailable, UpstreamFailed
from service.gateway.upstream import CONNECT_S, Upstream
from service.gateway.upstream_body import Signer

Json = Any
LARGEST_REPLY = 1 << 20
TENANT = "lethe:agents:"  # no tenant can be called so; the one who asks follows, as in every salt


class AgentsFailed(Exception):
    """The model did not answer, or nothing that can be used.  Says nothing more: nobody shall."""


class Ask(NamedTuple):
    """What one agent asks.  n: number of replies wanted.  tenant: on whose behalf."""

    system: str
    user: str
    n: int
    max_tokens: int
    temperature: float
    seed: int
    tenant: str


class Agents(Protocol):
    """Whoever answers agents."""

    async def replies(self, ask: Ask) -> list[str]:
        """At most ``n`` texts; empty ones left out.  Raises AgentsFailed."""

    def open(self) -> None:
        """Make ready, in the event loop that will use it."""

    async def close(self) -> None:
        """Let go of every connection."""


def _sampling(ask: Ask) -> dict[str, Json]:
    return {
        "n": ask.n,
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "seed": ask.seed,
    }


def _texts(answer: Said, most: int) -> list[str]:
    pieces = answer.pieces()[:most]
    joined = ("".join(t for c, t in piece.texts if c == CONTENT).strip() for piece in pieces)
    return [text for text in joined if text]


class RemoteAgents:
    """An OpenAI-compatible endpoint.  It sees the names of what is to be forgotten."""

    def __init__(self, url: str, model: str, key: str | None) -> None:
        self._url = url.rstrip("/") + "/chat/completions"
        self._model = model
        self._headers = {"authorization": f"Bearer {key}"} if key else {}
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Make the connection pool."""
        self._session = aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, sock_connect=CONNECT_S),
            trust_env=False,
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def close(self) -> None:
        """Close every connection."""
        if self._session is not None:
            await self._session.close()

    async def replies(self, ask: Ask) -> list[str]:
        """As in Agents.  Whoever calls sets the deadline."""
        messages = [
            {"role": "system", "content": ask.system},
            {"role": "user", "content": ask.user},
        ]
        body = {"model": self._model, "messages": messages, **_sampling(ask)}
        try:
            async with self._post(body) as response:
                if response.status != 200:
                    raise AgentsFailed
                return _texts(read_said(await _bounded(response)), ask.n)
        except (aiohttp.ClientError, TimeoutError, OSError, UpstreamFailed) as error:
            raise AgentsFailed from error

    @asynccontextmanager
    async def _post(self, body: Mapping[str, Json]) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            raise AgentsFailed
        headers = {"content-type": "application/json", **self._headers}
        async with self._session.post(
            self._url, data=msgspec.json.encode(body), headers=headers, allow_redirects=False
        ) as response:
            yield response


async def _bounded(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    async for data in response.content.iter_any():
        body += data
        if len(body) > LARGEST_REPLY:
            raise AgentsFailed
    return bytes(body)


@dataclass(frozen=True)
class EngineAgents:
    """The gateway's own engine, asked with signed requests like any other.

    Their prompts are the gateway's, and carry no edits: an agent has to see the names.
    """

    upstream: Upstream
    signer: Signer
    trust: EngineTrust
    renderer: PromptRenderer
    max_model_len: int

    def open(self) -> None:
        """Nothing: the upstream is opened by its owner."""

    async def close(self) -> None:
        """Nothing."""

    async def replies(self, ask: Ask) -> list[str]:
        """As in Agents."""
        try:
            body = await asyncio.to_thread(self._body, ask)
            path = "/v1/chat/completions"
            async with aclosing(said(self.upstream, self.trust, path, body)) as answers:
                return [text async for answer in answers for text in _texts(answer, ask.n)]
        except (GuardUnavailable, ApiError, InvalidPrompt) as error:
            raise AgentsFailed from error

    def _body(self, ask: Ask) -> dict[str, Json]:
        messages = (Message("system", (ask.system,)), Message("user", (ask.user,)))
        conversation = self.renderer.conversation(messages, None)
        rendered = self.renderer.chat(conversation, {})
        if len(rendered.ids) + ask.max_tokens > self.max_model_len:
            raise AgentsFailed
        number = f"agent-{secrets.token_hex(8)}"
        case = Case(number, TENANT + ask.tenant, self.signer.model, 0, to_prompt(rendered))
        return {**self.signer.fields(case), "messages": conversation.wire, **_sampling(ask)}
