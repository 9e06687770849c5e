"""Faults that tell what is forgotten by how it is answered, and faults in how answers come."""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import replace
from typing import Any

from evals.faults.fault import Fault, swap

_DECIDED = "service.gateway.prepare:Preparer._decided"


class _OfEnvelope(Fault):
    LAYER = "E"


class _OfStream(Fault):
    LAYER = "S"


class RefusalTell(_OfEnvelope):
    """See BROKEN."""

    NAME = "refusal-tell"
    BROKEN = "forgotten subjects are refused in words that nobody else hears"

    def install(self) -> None:
        def refusing(decided: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(*given: Any) -> Any:
                case = decided(*given)
                return case.answered("I was asked to forget this.") if case.matches else case

            return wrong

        swap(_DECIDED, refusing)


class ErrorTell(_OfEnvelope):
    """See BROKEN."""

    NAME = "error-tell"
    BROKEN = "a prompt that touches a policy is answered by an error"

    def install(self) -> None:
        def failing(decided: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(*given: Any) -> Any:
                case = decided(*given)
                if case.matches:
                    raise RuntimeError("planted")
                return case

            return wrong

        swap(_DECIDED, failing)


class LatencyTell(_OfEnvelope):
    """See BROKEN."""

    NAME = "latency-tell"
    BROKEN = "a prompt that touches a policy is answered 1.5 s late"

    def install(self) -> None:
        def slow(decided: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(*given: Any) -> Any:
                case = decided(*given)
                if case.matches:
                    time.sleep(1.5)
                return case

            return wrong

        swap(_DECIDED, slow)


class FinishTell(_OfEnvelope):
    """See BROKEN."""

    NAME = "finish-tell"
    BROKEN = "answers about forgotten subjects end with a finish reason of their own"

    def install(self) -> None:
        def marked(outs: Callable[..., Any]) -> Callable[..., Any]:
            async def wrong(run: Any) -> AsyncGenerator[Any, None]:
                async for out in outs(run):
                    told = out.finish is not None and run.prepared.case.matches
                    yield replace(out, finish="content_filter") if told else out

            return wrong

        swap("service.gateway.run:Run.outs", marked)


class UsageWrong(_OfEnvelope):
    """See BROKEN."""

    NAME = "usage-wrong"
    BROKEN = "the tokens of the answer are counted with those of the prompt"

    def install(self) -> None:
        def mixed(_: Any) -> Callable[[Any], Any]:
            def wrong(answering: Any) -> Any:
                from service.gateway.envelope import Counts

                runs = answering._runs  # noqa: SLF001
                prompt = sum(run.prompt_tokens + run.completion_tokens for run in runs)
                return Counts(prompt, 0)

            return wrong

        swap("service.gateway.data_plane:Answering._counts", mixed)


class UsageTell(_OfEnvelope):
    """See BROKEN."""

    NAME = "usage-tell"
    BROKEN = "the tokens that guards edit are added to the prompt's"

    def install(self) -> None:
        swap(
            "service.gateway.run:Run.prompt_tokens",
            lambda _: property(lambda run: run.prepared.given + 3 * len(run.prepared.case.edits)),
        )


class EmptyTell(_OfEnvelope):
    """See BROKEN."""

    NAME = "silence-tell"
    BROKEN = "a prompt that touches a policy is answered by nothing"

    def install(self) -> None:
        def silent(decided: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(*given: Any) -> Any:
                case = decided(*given)
                return case.answered("") if case.matches else case

            return wrong

        swap(_DECIDED, silent)


class StreamCutShort(_OfStream):
    """See BROKEN."""

    NAME = "stream-cut-short"
    BROKEN = "what is held back at the end of a streamed answer is lost"

    def install(self) -> None:
        def losing(outs: Callable[..., Any]) -> Callable[..., Any]:
            async def wrong(run: Any) -> AsyncGenerator[Any, None]:
                last: Any = None
                async for out in outs(run):
                    if last is not None and not (run._generation.stream and out.finish):  # noqa: SLF001
                        yield last
                    last = out
                if last is not None:
                    yield last

            return wrong

        swap("service.gateway.run:Run.outs", losing)


class StreamsMixed(_OfStream):
    """See BROKEN."""

    NAME = "streams-mixed"
    BROKEN = "now and then a piece of a streamed answer goes to another client's stream"

    def install(self) -> None:
        others: list[Any] = []

        def mixing(outs: Callable[..., Any]) -> Callable[..., Any]:
            async def wrong(run: Any) -> AsyncGenerator[Any, None]:
                async for out in outs(run):
                    if out.release is None or not run._generation.stream:  # noqa: SLF001
                        yield out
                        continue
                    others.append(out.release)
                    await asyncio.sleep(0.002)
                    yield replace(out, release=others.pop())

            return wrong

        swap("service.gateway.run:Run.outs", mixing)


class ChoicesSwapped(_OfStream):
    """See BROKEN."""

    NAME = "streams-reordered"
    BROKEN = "two pieces of a streamed answer leave in the wrong order"

    def install(self) -> None:
        def reordered(outs: Callable[..., Any]) -> Callable[..., Any]:
            async def wrong(run: Any) -> AsyncGenerator[Any, None]:
                kept: list[Any] = []
                async for out in outs(run):
                    if not run._generation.stream:  # noqa: SLF001
                        yield out
                    elif out.release is not None and not kept:
                        kept.append(out)
                    else:
                        yield out
                        while kept:
                            yield kept.pop()

            return wrong

        swap("service.gateway.run:Run.outs", reordered)
