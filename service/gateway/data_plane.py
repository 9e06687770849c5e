"""The hot path: chat and completions over raw ASGI, before any framework."""

import asyncio
import contextlib
import logging
import secrets
import time
from collections.abc import Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from guards.rules import Rules
from models.encoder import EncoderUnavailable
from service.audit import AuditLog, CaseEntry, Outcome
from service.control.keys import KeyRing, Principal
from service.control.replica import FenceReason, Replica, ReplicaFenced
from service.errors import ApiError, unauthenticated, unavailable
from service.gateway.envelope import (
    DONE,
    CallIds,
    ChatDeltas,
    Counts,
    Envelope,
    Joined,
    TextDeltas,
    error_event,
)
from service.gateway.exchange import App, ClientGone, Exchange, Receive, Scope, Send
from service.gateway.overtaken import Overtaken
from service.gateway.prepare import Prepared
from service.gateway.readiness import Readiness
from service.gateway.run import Out, Run
from service.gateway.schema import ChatRequest, CompletionRequest, Schema
from service.gateway.source import Engine
from service.gateway.together import together
from service.gateway.unavailable import GuardUnavailable, Reason, UpstreamFailed
from service.json_body import read_object
from service.store.store import StoreUnavailable

log = logging.getLogger(__name__)

Api = Literal["chat", "completions"]
PATHS: Mapping[str, Api] = {"/v1/chat/completions": "chat", "/v1/completions": "completions"}
NOBODY = Principal(tenant="default", key_id="", plane="data")


@dataclass(frozen=True)
class DataPlane:
    """Answers POST on the two hot paths; everything else goes to ``rest``."""

    rest: App
    engine: Engine
    schema: Schema
    replica: Replica
    keys: KeyRing
    audit: AuditLog
    readiness: Readiness
    max_body_bytes: int
    require_api_key: bool
    model: str
    stream_grace_s: float = 5.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """ASGI."""
        if scope["type"] != "http" or scope["path"] not in PATHS:
            await self.rest(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        with self.readiness.counted():
            await Answering(self, exchange, PATHS[exchange.path]).run()


class Answering:
    """One request on its way: what is known of it so far, for the audit at its end."""

    def __init__(self, plane: DataPlane, exchange: Exchange, api: Api) -> None:
        self._plane = plane
        self._exchange = exchange
        self._api = api
        self._metrics = plane.engine.metrics
        self._began = time.perf_counter()
        self._id = ("chatcmpl-" if api == "chat" else "cmpl-") + secrets.token_hex(16)
        self._principal = NOBODY
        self._runs: list[Run] = []
        self._n = 1
        self._outcome: Outcome = "failed"
        self._error = ""

    async def run(self) -> None:
        """Answer, whatever happens; count and audit it, whatever happened."""
        self._metrics.inflight.inc()
        try:
            with contextlib.suppress(ClientGone):
                await self._answer_or_refuse()
        finally:
            self._metrics.inflight.dec()
            self._record()

    async def _answer_or_refuse(self) -> None:
        try:
            await self._answer()
            self._outcome = "completed"
        except ClientGone:
            self._outcome, self._error = "client_gone", "client_gone"
        except ApiError as error:
            self._outcome, self._error = "rejected", str(error.status)
            await self._refuse(error)
        except Exception as error:  # noqa: BLE001  (the process boundary: fails closed, as a 503)
            reason = _reason(error)
            upstream = isinstance(error, UpstreamFailed)
            self._outcome = "upstream_error" if upstream else "unavailable"
            self._error = reason.value
            self._metrics.fail_closed.labels(reason.value).inc()
            if reason is Reason.GUARD_FAILED:
                # The type alone: a message could quote the prompt or the forget list.
                log.error("a request failed closed: %s", type(error).__name__)
            await self._refuse(unavailable())

    async def _refuse(self, error: ApiError) -> None:
        if not self._exchange.started:
            await self._exchange.refuse(error)
            return
        await self._exchange.event(error_event())
        await self._exchange.end()

    async def _answer(self) -> None:
        plane = self._plane
        if self._exchange.method != "POST":
            raise ApiError(405, "Only POST is answered here.", headers={"allow": "POST"})
        self._principal = self._authenticated()
        with self._metrics.stage("read"):
            body = read_object(await self._exchange.body(plane.max_body_bytes))
            read = plane.schema.chat if self._api == "chat" else plane.schema.completion
            request: ChatRequest | CompletionRequest = read(body)
        plane.readiness.check()
        rules = plane.replica.rules
        prepared = await asyncio.to_thread(self._prepare, request, rules)
        n = self._n = request.generation.n
        overtaken = Overtaken(plane.replica, rules, plane.stream_grace_s)
        self._runs = [
            Run(plane.engine, rules, request.generation, each, number * n, overtaken)
            for number, each in enumerate(prepared)
        ]
        await self._until_gone(request)

    def _authenticated(self) -> Principal:
        raw = self._exchange.bearer()
        with self._metrics.stage("authenticate"):
            principal = self._plane.keys.authenticate(raw, "data") if raw else None
        if principal is None and self._plane.require_api_key:
            raise unauthenticated()
        return principal or NOBODY

    def _prepare(self, request: ChatRequest | CompletionRequest, rules: Rules) -> list[Prepared]:
        preparer, tenant = self._plane.engine.preparer, self._principal.tenant
        if isinstance(request, ChatRequest):
            return [preparer.chat(request, rules, tenant, self._id)]
        return preparer.completions(request, rules, tenant, self._id)

    async def _until_gone(self, request: ChatRequest | CompletionRequest) -> None:
        """Send the answer; stop the engine's work as soon as nobody waits for it."""
        stream = request.generation.stream
        send = self._stream(request) if stream else self._whole()
        sending = asyncio.ensure_future(send)
        gone = asyncio.ensure_future(self._exchange.gone())
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if not sending.done():
                raise ClientGone
            await sending
        finally:
            for task in (sending, gone):
                task.cancel()
            await asyncio.gather(sending, gone, return_exceptions=True)

    async def _whole(self) -> None:
        joined = Joined(self._api, CallIds(self._id[-16:]))
        async with aclosing(together(self._runs)) as outs:
            async for out in outs:
                self._note_first(out)
                joined.add(out)
        await self._exchange.answer(200, self._envelope().whole(joined.choices(), self._counts()))

    async def _stream(self, request: ChatRequest | CompletionRequest) -> None:
        usage = request.generation.include_usage
        envelope, exchange = self._envelope(), self._exchange
        chat = self._api == "chat"
        deltas: _Deltas = ChatDeltas(CallIds(self._id[-16:])) if chat else TextDeltas()
        async with aclosing(together(self._runs)) as outs:
            async for out in outs:
                self._note_first(out)
                choice = deltas.choice(out)
                if choice is not None:
                    chunk = envelope.chunk([choice], usage=usage)
                    if out.heard is not None:
                        self._metrics.hop_seconds.observe(time.perf_counter() - out.heard)
                    await exchange.event(chunk)
        if usage:
            await exchange.event(envelope.chunk([], usage=True, counts=self._counts()))
        await exchange.event(DONE)
        await exchange.end()

    def _note_first(self, out: Out) -> None:
        if out.release is not None and not self._exchange.first_seen:
            self._exchange.first_seen = True
            now = time.perf_counter()
            seconds = now - self._began
            self._metrics.first_token_seconds.labels(*self._labels()).observe(seconds)
            times = self._runs[out.index // self._n].engine_times
            if times is not None:
                engine_s = times.first - times.asked
                self._metrics.added_first_token_seconds.observe(seconds - engine_s)
                self._metrics.hold_back_seconds.observe(now - times.first)

    def _envelope(self) -> Envelope:
        return Envelope(self._api, self._id, self._plane.model)

    def _counts(self) -> Counts:
        prompt = sum(run.prompt_tokens for run in self._runs)
        return Counts(prompt, sum(run.completion_tokens for run in self._runs))

    def _labels(self) -> tuple[str, str]:
        operation = "chat" if self._api == "chat" else "text_completion"
        return operation, self._plane.model

    def _record(self) -> None:
        metrics, seconds = self._metrics, time.perf_counter() - self._began
        metrics.request_seconds.labels(*self._labels(), self._error).observe(seconds)
        metrics.cases.labels(self._outcome).inc()
        for run in self._runs:
            self._time_engine(run)
            for match in run.matches:
                metrics.matches.labels(match.evidence).inc()
            for kind in run.acts:
                metrics.edited(kind, self._outcome)
            self._plane.audit.write(self._entry(run, seconds))
            if self._outcome == "completed":
                metrics.tokens.labels(*self._labels(), "input").observe(run.prompt_tokens)
                metrics.tokens.labels(*self._labels(), "output").observe(run.completion_tokens)
        if not self._runs:
            self._plane.audit.write(self._bare_entry(seconds))

    def _time_engine(self, run: Run) -> None:
        times = run.engine_times
        if times is not None:
            stages = self._metrics.stage_seconds
            stages.labels("upstream").observe(times.first - times.asked)
            stages.labels("reply").observe(time.perf_counter() - times.first)

    def _entry(self, run: Run, seconds: float) -> CaseEntry:
        case = run.prepared.case
        kinds = run.acts
        done = self._outcome == "completed"
        return CaseEntry(
            case=case.id,
            tenant=case.tenant,
            key=self._principal.key_id,
            epoch=case.epoch,
            outcome=self._outcome,
            policies=tuple(match.policy for match in run.matches),
            evidence=tuple(match.evidence for match in run.matches),
            edits={kind: kinds.count(kind) for kind in set(kinds)},
            prompt_tokens=run.prompt_tokens,
            completion_tokens=run.completion_tokens if done else 0,
            scanned_bytes=run.scanned,
            released_bytes=run.released,
            duration_s=seconds,
        )

    def _bare_entry(self, seconds: float) -> CaseEntry:
        return CaseEntry(
            case=self._id,
            tenant=self._principal.tenant,
            key=self._principal.key_id,
            epoch=0,
            outcome=self._outcome,
            edits={},
            duration_s=seconds,
        )


class _Deltas(Protocol):
    def choice(self, out: Out) -> Any: ...


def _reason(error: Exception) -> Reason:
    """The fixed code of a failure."""
    match error:
        case GuardUnavailable():
            return error.reason
        case ReplicaFenced(reason=FenceReason.ENCODER_UNAVAILABLE) | EncoderUnavailable():
            return Reason.ENCODER_UNAVAILABLE
        case ReplicaFenced(reason=FenceReason.ENGINE_LACKS):
            return Reason.ENGINE_LACKS
        case ReplicaFenced():
            return Reason.REPLICA_FENCED
        case StoreUnavailable():
            return Reason.KEYS_UNAVAILABLE
    return Reason.GUARD_FAILED
