"""One case from the engine to the client: ask, filter, and ask again after a catch."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from guards.case import Case, Edit, Match
from guards.rules import Rules
from service.errors import ApiError, invalid
from service.gateway.canary import error_message, refused
from service.gateway.choice import Choice, Release
from service.gateway.pieces import Piece, Usage
from service.gateway.prepare import Prepared, Preparer
from service.gateway.schema import Generation
from service.gateway.seam import Seam
from service.gateway.trust import EngineTrust
from service.gateway.unavailable import GuardUnavailable, Reason, UpstreamFailed
from service.gateway.upstream import Answer, Upstream
from service.gateway.upstream_body import Signer, chat_body, completion_body
from service.metrics import Metrics

Json = Any


@dataclass(frozen=True, slots=True)
class Out:
    """What happened to one choice: it began (neither), text left, or it ended."""

    index: int
    release: Release | None = None
    finish: str | None = None


@dataclass(frozen=True)
class Engine:
    """What a run needs of the gateway."""

    upstream: Upstream
    signer: Signer
    trust: EngineTrust
    preparer: Preparer
    metrics: Metrics
    opening: int = 0


class Run:
    """The answer to one case: ``n`` choices, numbered from ``first``."""

    def __init__(
        self,
        engine: Engine,
        rules: Rules,
        generation: Generation,
        prepared: Prepared,
        first: int = 0,
    ) -> None:
        self._engine = engine
        self._rules = rules
        self._generation = generation
        self.prepared = prepared
        self.cases: list[Case] = [prepared.case]
        self._first = first
        self._choices = [Choice(self._new_filter, engine.opening) for _ in range(generation.n)]
        self._usage = Usage()
        self._again = False

    async def outs(self) -> AsyncGenerator[Out, None]:
        """What may leave, as it may.  Raises GuardUnavailable or ApiError; what is held stays."""
        path, body = self._question(self.prepared, self._generation.n)
        begun: set[int] = set()
        async with aclosing(self._pieces(path, body)) as pieces:
            async for piece in pieces:
                choice = self._choice(piece)
                if piece.index not in begun:
                    begun.add(piece.index)
                    yield Out(self._first + piece.index)
                for out in self._push(piece.index, choice, piece):
                    yield out
                if self._all_done() and self._any_caught():
                    break
        if not self._all_done():
            raise UpstreamFailed
        for index, choice in enumerate(self._choices):
            if choice.caught is not None:
                async with aclosing(self._after_catch(index, choice)) as outs:
                    async for out in outs:
                        yield out
        self._observe()

    @property
    def scanned(self) -> int:
        """Bytes of the answer that went through filters."""
        return sum(choice.scanned for choice in self._choices)

    @property
    def released(self) -> int:
        """Bytes of the answer that left."""
        return sum(choice.left for choice in self._choices)

    @property
    def matches(self) -> list[Match]:
        """Every match, of a second attempt too; each policy once."""
        found = {match.policy: match for case in self.cases for match in case.matches}
        return list(found.values())

    @property
    def edits(self) -> list[Edit]:
        """Every edit that was sent."""
        return [edit for case in self.cases for edit in case.edits]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the prompt, counted once."""
        return len(self.prepared.rendered.ids)

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer: the engine's count, or ours where it was asked twice."""
        if not self._again:
            return self._usage.completion_tokens or 0
        count = self._engine.preparer.renderer.count
        ended = sum(choice.finish == "stop" for choice in self._choices)
        return sum(count(text) for c in self._choices for text in c.texts()) + ended

    async def _after_catch(self, index: int, caught: Choice) -> AsyncGenerator[Out, None]:
        """Go on after the clean text, more strictly; where that cannot be done, end there."""
        self._again = True
        self._engine.metrics.catches.inc()
        if caught.caught is None:
            raise GuardUnavailable(Reason.GUARD_FAILED)
        policy = caught.caught.policy
        continuable = not self._generation.structured and caught.only_content
        if not continuable and not caught.silent:
            for out in self._end(index, caught):
                yield out
            return
        # Models begin words with their blank: the prompt must not end in it.
        said = caught.said if continuable else ""
        head = said.rstrip()
        prepared = await asyncio.to_thread(
            self._engine.preparer.again, self.prepared, head, policy, self._rules, self._generation
        )
        self.cases.append(prepared.case)
        fresh, releases = caught.restarted() if continuable else (caught.anew(), [])
        self._choices[index] = fresh
        for release in releases:
            yield Out(self._first + index, release)
        seam = Seam(said[len(head) :]) if continuable else None
        async with aclosing(self._second(index, fresh, prepared, seam)) as outs:
            async for out in outs:
                yield out

    async def _second(
        self, index: int, choice: Choice, prepared: Prepared, seam: Seam | None
    ) -> AsyncGenerator[Out, None]:
        used = len(prepared.rendered.ids) - self.prompt_tokens
        room = self._room() - used
        if choice.caught is None and room > 0:
            path, body = self._question(prepared, 1, room if seam is not None else None)
            async with aclosing(self._pieces(path, body)) as pieces:
                async for piece in pieces:
                    joined = piece if seam is None else seam.joined(piece)
                    for out in self._push(index, choice, joined):
                        yield out
                    if choice.caught is not None:
                        break
        if choice.caught is not None:
            self._engine.metrics.catches.inc()
        elif room > 0 and choice.finish is None:
            raise UpstreamFailed
        if choice.finish is None:
            for out in self._end(index, choice, "stop" if room > 0 else "length"):
                yield out

    def _question(
        self, prepared: Prepared, n: int, room: int | None = None
    ) -> tuple[str, Mapping[str, Json]]:
        """Path and body.  room: how much a continued answer may still have; None: a whole one."""
        fields = self._engine.signer.fields(prepared.case)
        chat = prepared.conversation
        if chat is not None and room is None:
            body = chat_body(fields, self._generation, chat.wire, chat.tools, n)
            return "/v1/chat/completions", body
        most = self._room() if room is None else room
        body = completion_body(fields, self._generation, prepared.case, most, n)
        return "/v1/completions", body

    async def _pieces(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[Piece, None]:
        engine = self._engine
        async with engine.upstream.post(path, body) as answer:
            await _check(answer, engine.trust)
            said = answer.said(stream=self._generation.stream)
            async with aclosing(said):
                async for each in said:
                    if each.usage is not None:
                        self._usage = each.usage
                    for piece in each.pieces():
                        yield piece

    def _push(self, index: int, choice: Choice, piece: Piece) -> list[Out]:
        if choice.done:
            return []
        outs = [Out(self._first + index, release) for release in choice.push(piece)]
        if choice.finish is not None:
            outs.append(Out(self._first + index, finish=choice.finish))
        return outs

    def _end(self, index: int, choice: Choice, finish: str = "stop") -> list[Out]:
        outs = [Out(self._first + index, release) for release in choice.end_here(finish)]
        return [*outs, Out(self._first + index, finish=finish)]

    def _choice(self, piece: Piece) -> Choice:
        if not 0 <= piece.index < len(self._choices):
            raise UpstreamFailed
        return self._choices[piece.index]

    def _new_filter(self) -> Any:
        case = self.prepared.case
        return self._rules.text_filter(case.tenant, case.model)

    def _room(self) -> int:
        limit = self._engine.preparer.max_model_len - self.prompt_tokens
        return min(self._generation.max_tokens or limit, limit)

    def _all_done(self) -> bool:
        return all(choice.done for choice in self._choices)

    def _any_caught(self) -> bool:
        return any(choice.caught is not None for choice in self._choices)

    def _observe(self) -> None:
        for choice in self._choices:
            self._engine.metrics.hold_back.observe(choice.held)


async def _check(answer: Answer, trust: EngineTrust) -> None:
    """Raise unless this is an answer of an engine that may be believed."""
    trust.check(answer.boot_id)
    if answer.status == 200:
        return
    body = await answer.body()
    if answer.status != 400:
        raise UpstreamFailed
    if refused(body):
        raise GuardUnavailable(Reason.ENGINE_REFUSED)
    raise _sanitised(error_message(body))


# What an engine says -> what we say: its own words may quote the prompt.
_REFUSALS = (
    ("greedy sampling", "n", "'n' must be 1 where 'temperature' is 0."),
    ("--tool-call-parser", "tool_choice", "This model does not support this use of tools."),
    ("grammar", "response_format", "The output format could not be compiled."),
    ("regex", "structured_outputs", "The output format could not be compiled."),
)


def _sanitised(message: str) -> ApiError:
    """The engine's 400 in our words."""
    for sign, param, words in _REFUSALS:
        if sign in message:
            return invalid(param, words)
    return invalid(None, "The engine refused this combination of parameters.")
