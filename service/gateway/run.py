"""One case from the engine to the client: ask, filter, and ask again after a catch."""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import NamedTuple

from guards.case import Case, Match
from guards.rules import Rules
from guards.text_filter import TextFilter
from service.gateway.choice import Choice, Release
from service.gateway.overtaken import Overtaken
from service.gateway.pieces import Piece
from service.gateway.prepare import Prepared
from service.gateway.schema import Generation
from service.gateway.seam import Seam
from service.gateway.source import Engine, Source
from service.gateway.unavailable import GuardUnavailable, Reason, UpstreamFailed


@dataclass(frozen=True, slots=True)
class Out:
    """What happened to one choice: it began (neither), text left, or it ended.

    heard: when the engine's piece came that this is made of (perf_counter), where it is of one.
    """

    index: int
    release: Release | None = None
    finish: str | None = None
    heard: float | None = field(default=None, compare=False)


class EngineTimes(NamedTuple):
    """When the engine was first asked and when its first piece came, as of perf_counter."""

    asked: float
    first: float


class Run:
    """The answer to one case: ``n`` choices, numbered from ``first``."""

    def __init__(
        self,
        engine: Engine,
        rules: Rules,
        generation: Generation,
        prepared: Prepared,
        first: int = 0,
        overtaken: Overtaken | None = None,
    ) -> None:
        """overtaken: asked before anything more is let out, whether the answer is to end."""
        self._overtaken = overtaken
        self._engine = engine
        self._rules = rules
        self._generation = generation
        self.prepared = prepared
        self.cases: list[Case] = [prepared.case]
        self._first = first
        self._choices = [Choice(self._new_filter, engine.opening) for _ in range(generation.n)]
        self._source = Source(engine, rules, generation)

    async def outs(self) -> AsyncGenerator[Out, None]:
        """What may leave, as it may.  Raises GuardUnavailable or ApiError; what is held stays."""
        async with aclosing(self._until_caught()) as first:
            async for out in first:
                yield out
        if await self._ends():
            for out in self._end_all():
                yield out
        elif not self._all_done():
            raise UpstreamFailed
        for index, choice in enumerate(self._choices):
            if choice.caught is not None and choice.finish is None:
                async with aclosing(self._after_catch(index, choice)) as outs:
                    async for out in outs:
                        yield out
        self._observe()

    async def _until_caught(self) -> AsyncGenerator[Out, None]:
        """The first attempt: until its end, or until all that is left of it was caught."""
        begun: set[int] = set()
        async with aclosing(self._source.pieces(self.prepared, self._generation.n)) as pieces:
            async for piece in pieces:
                if await self._ends():
                    break
                choice = self._choice(piece)
                if piece.index not in begun:
                    begun.add(piece.index)
                    yield Out(self._first + piece.index)
                for out in self._push(piece.index, choice, piece):
                    yield out
                if self._all_done() and self._any_caught():
                    break

    @property
    def scanned(self) -> int:
        """Bytes of the answer that went through filters."""
        return sum(choice.scanned for choice in self._choices)

    @property
    def released(self) -> int:
        """Bytes of the answer that left."""
        return sum(choice.left for choice in self._choices)

    @property
    def engine_times(self) -> EngineTimes | None:
        """None where the engine was not asked, or has not answered."""
        asked, first = self._source.asked, self._source.first_heard
        return EngineTimes(asked, first) if asked is not None and first is not None else None

    @property
    def matches(self) -> list[Match]:
        """Every match, of a second attempt too; each policy once."""
        found = {match.policy: match for case in self.cases for match in case.matches}
        return list(found.values())

    @property
    def acts(self) -> list[str]:
        """Kinds of the guards that did something, once for each thing that they did."""
        return [kind for case in self.cases for kind in case.acts]

    @property
    def prompt_tokens(self) -> int:
        """Tokens of the client's prompt, counted once."""
        return self.prepared.given

    @property
    def completion_tokens(self) -> int:
        """Tokens of the answer: the engine's count, or ours of an answer that is not all its."""
        if not self._source.ours:
            return self._source.usage.completion_tokens or 0
        count = self._engine.preparer.renderer.count
        ended = sum(choice.finish == "stop" for choice in self._choices)
        return sum(count(text) for c in self._choices for text in c.texts()) + ended

    async def _after_catch(self, index: int, caught: Choice) -> AsyncGenerator[Out, None]:
        """Go on after the clean text, more strictly; where that cannot be done, end there."""
        self._source.ours = True
        self._engine.metrics.catches.inc()
        if caught.caught is None:
            raise GuardUnavailable(Reason.GUARD_FAILED)
        continuable = not self._generation.structured and caught.only_content
        if _speaks(self.prepared.case) or not (continuable or caught.silent):
            for out in self._end(index, caught):
                yield out
            return
        # Models begin words with their blank: the prompt must not end in it.
        head = caught.said.rstrip() if continuable else ""
        prepared = await asyncio.to_thread(
            self._engine.preparer.again,
            self.prepared,
            head,
            caught.caught.policy,
            self._rules,
            self._generation,
        )
        whole = not continuable or _speaks(prepared.case)
        if whole and not caught.silent:
            for out in self._end(index, caught):
                yield out
            return
        self.cases.append(prepared.case)
        fresh, releases = (caught.anew(), []) if whole else caught.restarted()
        self._choices[index] = fresh
        for release in releases:
            yield Out(self._first + index, release)
        seam = None if whole else Seam(caught.said[len(head) :])
        async with aclosing(self._second(index, fresh, prepared, seam)) as outs:
            async for out in outs:
                yield out

    async def _second(
        self, index: int, choice: Choice, prepared: Prepared, seam: Seam | None
    ) -> AsyncGenerator[Out, None]:
        used = len(prepared.rendered.ids) - len(self.prepared.rendered.ids)
        room = self._source.room(self.prepared) - used
        if choice.caught is None and room > 0:
            source = self._source.pieces(prepared, 1, room if seam is not None else None)
            async with aclosing(source) as pieces:
                async for piece in pieces:
                    if await self._ends():
                        break
                    joined = piece if seam is None else seam.joined(piece)
                    for out in self._push(index, choice, joined):
                        yield out
                    if choice.caught is not None:
                        break
        if choice.caught is not None:
            self._engine.metrics.catches.inc()
        elif room > 0 and choice.finish is None and not await self._ends():
            raise UpstreamFailed
        if choice.finish is None:
            for out in self._end(index, choice, "stop" if room > 0 else "length"):
                yield out

    async def _ends(self) -> bool:
        """Whether its subject was forgotten meanwhile, longer ago than the grace."""
        return self._overtaken is not None and await self._overtaken.ends(self.prepared.case)

    def _end_all(self) -> list[Out]:
        """The end of every choice that has none yet, as of an ordinary answer."""
        open_ones = [each for each in enumerate(self._choices) if each[1].finish is None]
        self._source.ours = self._source.ours or bool(open_ones)  # the engine's count is not ours
        return [out for index, choice in open_ones for out in self._end(index, choice)]

    def _push(self, index: int, choice: Choice, piece: Piece) -> list[Out]:
        if choice.done:
            return []
        heard = self._source.last_heard
        outs = [Out(self._first + index, each, heard=heard) for each in choice.push(piece)]
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

    def _new_filter(self) -> TextFilter:
        case = self.prepared.case
        return self._rules.text_filter(case.tenant, case.model)

    def _all_done(self) -> bool:
        return all(choice.done for choice in self._choices)

    def _any_caught(self) -> bool:
        return any(choice.caught is not None for choice in self._choices)

    def _observe(self) -> None:
        for choice in self._choices:
            self._engine.metrics.hold_back.observe(choice.held)


def _speaks(case: Case) -> bool:
    """Whether its answer is made as a whole: nothing can be gone on with in the middle of it."""
    return case.answer is not None or case.rewrite is not None
