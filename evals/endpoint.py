"""Asking any OpenAI-compatible endpoint, with the official SDK."""

import asyncio
import queue
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio.from_thread
import httpx
import openai
from openai import AsyncOpenAI

from evals.probe import Answered, Ask, Probe, Reading, Reply
from evals.words import Heard

CONNECTION_TRIES = 3
"""How often a request is sent when no connection comes about; no status is ever tried again."""
PAUSE_S = 0.5
TIMEOUT_S = 600.0
BROKEN = "broken"
"""``Reply.finish`` of an answer that ended by an error; what had come until then is in it."""

_END = object()


class Unreachable(RuntimeError):
    """Nothing answers there, or not with these keys.  The message holds no key."""


@dataclass(frozen=True)
class Endpoint:
    """A model behind an OpenAI-compatible API: a ``Measured``.

    base_url: up to and with ``/v1``.  admin_url, admin_key: of a gateway's admin plane; without
    them nothing is read, and ``Answered.readings`` are empty.  concurrency: probes at a time.
    facts: what else belongs to its versions.
    """

    name: str
    base_url: str
    api_key: str = field(repr=False)
    model: str
    admin_url: str | None = None
    admin_key: str | None = field(default=None, repr=False)
    concurrency: int = 4
    facts: Mapping[str, str] = field(default_factory=dict)

    def versions(self) -> Mapping[str, str]:
        """The model as the endpoint lists it, the SDK's version and what the admin plane says.

        Raises Unreachable where the models cannot be listed or this one is not among them.
        """
        listed = {model["id"]: model for model in self._models()}
        if self.model not in listed:
            known = ", ".join(listed) or "none"
            raise Unreachable(f"{self.name} does not serve {self.model!r}; it serves: {known}")
        told = {f"model.{key}": str(value) for key, value in _plain(listed[self.model]).items()}
        return {**told, "openai": openai.__version__, **self.facts, **self._status()}

    def answers(self, probes: Sequence[Probe]) -> Iterator[Answered]:
        """Every probe answered once, as they come.  Raises Unreachable when nothing answers."""
        done: queue.SimpleQueue[object] = queue.SimpleQueue()
        with anyio.from_thread.start_blocking_portal() as portal:
            work = portal.start_task_soon(self._work, probes, done)
            try:
                while (answered := done.get()) is not _END:
                    assert isinstance(answered, Answered)  # noqa: S101  (narrows the queue's type)
                    yield answered
                work.result()
            finally:
                work.cancel()

    async def _work(self, probes: Sequence[Probe], done: "queue.SimpleQueue[object]") -> None:
        limit = asyncio.Semaphore(self.concurrency)

        async def one(probe: Probe) -> None:
            async with limit:
                done.put(await self._answer(client, probe))

        try:
            async with self._client() as client, asyncio.TaskGroup() as tasks:
                for probe in probes:
                    tasks.create_task(one(probe))
        except ExceptionGroup as group:
            raise group.exceptions[0] from group
        finally:
            done.put(_END)

    async def _answer(self, client: AsyncOpenAI, probe: Probe) -> Answered:
        conversations: list[tuple[Reply, ...]] = []
        readings: tuple[Reading, ...] = ()
        problem = Problem()
        if (ask := probe.ask) is not None and ask.max_tokens > 0:
            for sample in range(ask.samples):
                replies, problem = await self._converse(client, ask, ask.seed + sample)
                if replies:
                    conversations.append(tuple(replies))
                if problem.error:
                    break
        if probe.read and self.admin_url and not problem.error:
            readings, problem = await asyncio.to_thread(self._read, probe)
        return Answered(
            probe=probe,
            conversations=tuple(conversations),
            readings=readings,
            status=problem.status,
            error=problem.error,
            unread=problem.unread,
        )

    async def _converse(
        self, client: AsyncOpenAI, ask: Ask, seed: int
    ) -> tuple[list[Reply], "Problem"]:
        """One conversation, as far as it comes."""
        replies: list[Reply] = []
        messages: list[dict[str, Any]] = list(ask.opening)
        for turn in ask.turns:
            messages.append({"role": "user", "content": turn})
            body = _body(ask, seed, self.model, messages)
            reply, problem = await self._request(client, ask, body)
            if reply is not None:
                replies.append(reply)
            if reply is None or problem.error:
                return replies, problem
            messages.append({"role": "assistant", "content": reply.text})
        return replies, Problem()

    async def _request(
        self, client: AsyncOpenAI, ask: Ask, body: dict[str, Any]
    ) -> tuple[Reply | None, "Problem"]:
        for left in reversed(range(CONNECTION_TRIES)):
            heard = Heard()
            try:
                await _listen(client, ask, body, heard)
            except openai.APITimeoutError:
                return heard.broken(BROKEN), Problem(0, "no answer in time")
            except (openai.APIConnectionError, httpx.TransportError) as error:
                if left and not heard.anything:
                    await asyncio.sleep(PAUSE_S)
                    continue
                await self._insist(client)
                return heard.broken(BROKEN), Problem(0, f"the connection: {type(error).__name__}")
            except openai.APIStatusError as error:
                return None, Problem(error.status_code, _said_by(error))
            except openai.APIError as error:  # an event of a stream that has begun
                return heard.broken(BROKEN), Problem(200, _said_by(error))
            except ValueError:
                return heard.broken(BROKEN), Problem(200, "what came is not of the OpenAI API")
            return heard.reply(), Problem()
        raise AssertionError("every try returns or is followed by another")

    async def _insist(self, client: AsyncOpenAI) -> None:
        """One broken connection is a result; an endpoint that is gone is not."""
        try:
            await client.models.list()
        except (openai.APIConnectionError, httpx.TransportError) as error:
            raise Unreachable(f"{self.name} does not answer at {self.base_url}") from error
        except openai.APIStatusError:
            return

    def _read(self, probe: Probe) -> tuple[tuple[Reading, ...], "Problem"]:
        from evals.scoring import NotOffered, Scorer

        if self.admin_url is None or self.admin_key is None:
            return (), Problem()
        try:
            return Scorer(self.admin_url, self.admin_key).read(probe.prompt, probe.read), Problem()
        except NotOffered as reason:
            return (), Problem(unread=reason.code)
        except httpx.HTTPStatusError as error:
            return (), Problem(error.response.status_code, str(error))
        except httpx.HTTPError as error:
            return (), Problem(0, f"not read: {type(error).__name__}")

    def _client(self) -> AsyncOpenAI:
        # The SDK's own retries would also repeat what was refused, and hide it from the timing.
        return AsyncOpenAI(
            base_url=self.base_url, api_key=self.api_key, max_retries=0, timeout=TIMEOUT_S
        )

    def _models(self) -> list[dict[str, Any]]:
        return list_models(self.name, self.base_url, self.api_key)

    def _status(self) -> Mapping[str, str]:
        """What a gateway's admin plane tells of itself; nothing where it tells nothing."""
        if self.admin_url is None:
            return {}
        headers = {"authorization": f"Bearer {self.admin_key}"} if self.admin_key else {}
        try:
            answer = httpx.get(f"{self.admin_url}/lethe/status", headers=headers, timeout=10)
            told = answer.json() if answer.is_success else {}
        except (httpx.HTTPError, ValueError) as error:
            message = f"the admin plane of {self.name} does not answer at {self.admin_url}"
            raise Unreachable(message) from error
        if answer.status_code in (401, 403):
            raise Unreachable(f"the admin plane of {self.name} does not know this key")
        return {f"lethe.{key}": str(value) for key, value in _plain(told).items()}


@dataclass(frozen=True)
class Problem:
    """Why there is no (more) answer.  status: of HTTP; 0: no answer at all.

    unread: see ``Answered``.
    """

    status: int = 200
    error: str = ""
    unread: str = ""


def list_models(name: str, base_url: str, api_key: str) -> list[dict[str, Any]]:
    """What the endpoint serves.  Raises Unreachable."""
    client = openai.OpenAI(
        base_url=base_url, api_key=api_key, max_retries=CONNECTION_TRIES - 1, timeout=30
    )
    try:
        with client:
            return [model.model_dump() for model in client.models.list().data]
    except openai.APIConnectionError as error:
        raise Unreachable(f"{name} does not answer at {base_url}") from error
    except openai.APIStatusError as error:
        raise Unreachable(f"{name} at {base_url} does not list its models: {error}") from error


def _body(ask: Ask, seed: int, model: str, messages: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": model,
        "max_tokens": ask.max_tokens,
        "temperature": ask.temperature,
        "seed": seed,
        "stream": ask.stream,
        "extra_body": ask.extra,
    }
    if ask.stop:
        body["stop"] = list(ask.stop)
    if ask.stream:
        body["stream_options"] = {"include_usage": True}
    if ask.kind == "completion":
        return {**body, "prompt": ask.turns[0]}
    return {**body, "messages": list(messages)}


async def _listen(client: AsyncOpenAI, ask: Ask, body: dict[str, Any], heard: Heard) -> None:
    """Send one request and take in all that comes."""
    api: Any = client.completions if ask.kind == "completion" else client.chat.completions
    heard.begins(time.perf_counter())
    answer = await api.create(**body)
    if ask.stream:
        async for chunk in answer:
            heard.takes(_json_of(chunk), time.perf_counter())
    else:
        heard.takes(_json_of(answer), time.perf_counter())
    heard.ends(time.perf_counter())


def _json_of(answer: object) -> dict[str, Any]:
    """Raises ValueError: the SDK hands on what is not JSON as a string."""
    if not isinstance(answer, openai.BaseModel):
        raise ValueError("not an object of the API")
    return answer.to_dict(warnings=False)


def _said_by(error: openai.APIError) -> str:
    """The code and message of an error, as the endpoint words them."""
    return ": ".join(part for part in (str(error.code or ""), error.message) if part)


def _plain(values: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """Nested objects with dotted names; what says nothing is left out."""
    flat: dict[str, Any] = {}
    for key, value in values.items():
        if isinstance(value, Mapping):
            flat.update(_plain(value, f"{prefix}{key}."))
        elif value not in (None, "") and not isinstance(value, list):
            flat[f"{prefix}{key}"] = value
    return flat
