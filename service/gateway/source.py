"""Where an answer comes from: the engine, a fixed text, or agents."""

import asyncio
import time
from collections.abc import AsyncGenerator, Iterator, Mapping
from contextlib import aclosing
from dataclasses import dataclass, replace
from typing import Any

from guards.case import Case, Rewrite
from guards.rules import Rules
from service.gateway.agent_prompts import Material
from service.gateway.asking import said
from service.gateway.pieces import CONTENT, Piece, Usage
from service.gateway.prepare import Prepared, Preparer
from service.gateway.rewriting import Rewriter, Task
from service.gateway.schema import Generation
from service.gateway.spoken import spoken
from service.gateway.trust import EngineTrust
from service.gateway.unavailable import GuardUnavailable, Reason
from service.gateway.upstream import Upstream
from service.gateway.upstream_body import Signer, chat_body, completion_body
from service.metrics import Metrics

Json = Any


@dataclass(frozen=True)
class Engine:
    """What a run needs of the gateway."""

    upstream: Upstream
    signer: Signer
    trust: EngineTrust
    preparer: Preparer
    metrics: Metrics
    opening: int = 0
    rewriter: Rewriter | None = None


class Source:
    """Says what a prepared case is answered with, in pieces; nothing of it is filtered yet.

    usage: the engine's count of the last answer.  ours: whether that is not all of the answer, so
    that its tokens are to be counted by us.  asked, first_heard: when the engine was first asked,
    and when its first piece came; last_heard: when its last one came; None: not yet.
    """

    def __init__(self, engine: Engine, rules: Rules, generation: Generation) -> None:
        self._engine = engine
        self._rules = rules
        self._generation = generation
        self.usage = Usage()
        self.ours = False
        self.asked: float | None = None
        self.first_heard: float | None = None
        self.last_heard: float | None = None

    async def pieces(
        self, prepared: Prepared, n: int, room: int | None = None
    ) -> AsyncGenerator[Piece, None]:
        """``n`` choices.  room: what a continued answer may still have; None: it is a whole one.

        Raises GuardUnavailable or ApiError.
        """
        case = prepared.case
        if case.answer is not None:
            for index in range(n):
                for piece in self._spoken(index, case.answer, prepared):
                    yield piece
        elif case.rewrite is not None:
            async with aclosing(self._rewritten(prepared, case.rewrite, n)) as pieces:
                async for piece in pieces:
                    yield piece
        else:
            path, body = self._question(prepared, n, room)
            async with aclosing(self._asked(path, body)) as pieces:
                async for piece in pieces:
                    yield piece

    def _spoken(self, index: int, text: str, prepared: Prepared) -> Iterator[Piece]:
        self.ours = True
        room = self.room(prepared)
        return spoken(index, text, self._generation, room, self._engine.preparer.renderer)

    async def _rewritten(
        self, prepared: Prepared, plan: Rewrite, n: int
    ) -> AsyncGenerator[Piece, None]:
        """Each choice once its rewriting is done; all of them are written at the same time."""
        rewriter = self._engine.rewriter
        if rewriter is None:
            raise GuardUnavailable(Reason.GUARD_FAILED)
        budget = rewriter.budget()
        drafts = await self._drafts(prepared, n, budget.deadline)
        async with asyncio.TaskGroup() as group:
            tasks = (self._task(prepared, plan, draft, rewriter.key) for draft in drafts)
            texts = [group.create_task(rewriter.rewritten(task, budget)) for task in tasks]
        for index, text in enumerate(texts):
            for piece in self._spoken(index, text.result(), prepared):
                yield piece

    async def _drafts(self, prepared: Prepared, n: int, deadline: float) -> list[str]:
        """The contents of an answer that nobody sees; empty where they are not there in time."""
        path, body = self._question(prepared, n)
        body = {name: value for name, value in body.items() if name != "stream_options"}
        drafts = [""] * n
        try:
            async with asyncio.timeout_at(deadline):
                async for piece in self._asked(path, {**body, "stream": False}):
                    if 0 <= piece.index < n:
                        text = "".join(t for channel, t in piece.texts if channel == CONTENT)
                        drafts[piece.index] += text
        except TimeoutError:
            return [""] * n
        return drafts

    def _task(self, prepared: Prepared, plan: Rewrite, draft: str, key: bytes) -> Task:
        names = (name for policy in plan.policies for name in self._rules.names(policy))
        material = Material(prepared.question, draft, tuple(dict.fromkeys(names)), key)
        return Task(
            material=material,
            plan=plan,
            tenant=prepared.case.tenant,
            seed=int(self._generation.passed.get("seed", 0)),
            tokens=self._engine.preparer.renderer.count(draft),
            leaks=lambda text: self._leaks(prepared.case, text),
        )

    def _leaks(self, case: Case, text: str) -> bool:
        filtered = self._rules.text_filter(case.tenant, case.model)
        filtered.push(text)
        filtered.finish()
        return filtered.caught is not None

    def _question(
        self, prepared: Prepared, n: int, room: int | None = None
    ) -> tuple[str, Mapping[str, Json]]:
        """Path and body.  room: as in ``pieces``."""
        fields = self._engine.signer.fields(prepared.case)
        chat = prepared.conversation
        if chat is not None and room is None:
            generation = self._generation
            if generation.max_tokens is not None:
                generation = replace(generation, max_tokens=self.room(prepared))
            body = chat_body(fields, generation, chat.wire, chat.tools, n)
            return "/v1/chat/completions", body
        most = self.room(prepared) if room is None else room
        body = completion_body(fields, self._generation, prepared.case, most, n)
        return "/v1/completions", body

    async def _asked(self, path: str, body: Mapping[str, Json]) -> AsyncGenerator[Piece, None]:
        engine = self._engine
        if self.asked is None:
            self.asked = time.perf_counter()
        async with aclosing(said(engine.upstream, engine.trust, path, body)) as parts:
            async for part in parts:
                self.last_heard = time.perf_counter()
                if self.first_heard is None:
                    self.first_heard = self.last_heard
                if part.usage is not None:
                    self.usage = part.usage
                for piece in part.pieces():
                    yield piece

    def room(self, prepared: Prepared) -> int:
        """Tokens that an answer to this prompt may have."""
        limit = self._engine.preparer.max_model_len - len(prepared.rendered.ids)
        return min(self._generation.max_tokens or limit, limit)
