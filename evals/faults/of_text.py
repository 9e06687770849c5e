"""Faults in the filter on what a model writes, and in what follows a catch."""

from collections.abc import AsyncGenerator, Callable
from typing import Any

from evals.faults.fault import Fault, swap
from guards.text_filter import TextFilter

_NEW_FILTER = "service.gateway.run:Run._new_filter"


class _OfText(Fault):
    LAYER = "L5"


class NoTextFilter(_OfText):
    """See BROKEN."""

    NAME = "no-text-filter"
    BROKEN = "nothing that the model writes is filtered"

    def install(self) -> None:
        swap(_NEW_FILTER, lambda _: lambda _run: TextFilter(()))


class ArgumentsUnfiltered(_OfText):
    """See BROKEN."""

    NAME = "arguments-unfiltered"
    BROKEN = "the arguments of tool calls pass unfiltered"

    def install(self) -> None:
        swap("service.gateway.choice:Choice._channel", _unfiltered("arguments"))


class ReasoningUnfiltered(_OfText):
    """See BROKEN."""

    NAME = "reasoning-unfiltered"
    BROKEN = "reasoning passes unfiltered"

    def install(self) -> None:
        swap("service.gateway.choice:Choice._channel", _unfiltered("reasoning"))


class OnlyFirstChoiceFiltered(_OfText):
    """See BROKEN."""

    NAME = "only-first-choice-filtered"
    BROKEN = "choices after the first are not filtered"

    def install(self) -> None:
        def first_only(init: Callable[..., None]) -> Callable[..., None]:
            def wrong(run: Any, *given: Any, **named: Any) -> None:
                init(run, *given, **named)
                for choice in run._choices[1:]:  # noqa: SLF001
                    choice._new_filter = lambda: TextFilter(())  # noqa: SLF001

            return wrong

        swap("service.gateway.run:Run.__init__", first_only)


class FilterShared(_OfText):
    """See BROKEN."""

    NAME = "filter-shared"
    BROKEN = "all choices and channels of an answer go through one filter's state"

    def install(self) -> None:
        def shared(new: Callable[[Any], TextFilter]) -> Callable[[Any], TextFilter]:
            def wrong(run: Any) -> TextFilter:
                if not hasattr(run, "_one_filter"):
                    run._one_filter = new(run)  # noqa: SLF001
                found: TextFilter = run._one_filter  # noqa: SLF001
                return found

            return wrong

        swap(_NEW_FILTER, shared)


class StreamsUnfiltered(_OfText):
    """See BROKEN."""

    NAME = "streams-unfiltered"
    BROKEN = "streamed answers pass unfiltered"

    def install(self) -> None:
        swap(_NEW_FILTER, _unless(lambda run: run._generation.stream))  # noqa: SLF001


class CompletionsUnfiltered(_OfText):
    """See BROKEN."""

    NAME = "completions-unfiltered"
    BROKEN = "answers of the completions API pass unfiltered"

    def install(self) -> None:
        swap(_NEW_FILTER, _unless(lambda run: run.prepared.conversation is None))


class HoldBackOffByOne(_OfText):
    """See BROKEN."""

    NAME = "hold-back-off-by-one"
    BROKEN = "one character too many is released ahead of a possible name"

    def install(self) -> None:
        def one_more(hold: Callable[[Any], int]) -> Callable[[Any], int]:
            return lambda found: min(hold(found) + 1, found._read)  # noqa: SLF001

        swap("guards.text_filter:TextFilter._hold", one_more)


class NothingHeldBack(_OfText):
    """See BROKEN."""

    NAME = "nothing-held-back"
    BROKEN = "each delta is released whole, though a name may have begun in it"

    def install(self) -> None:
        swap("guards.text_filter:TextFilter._hold", lambda _: lambda found: found._read)  # noqa: SLF001


class OnlyFirstList(_OfText):
    """See BROKEN."""

    NAME = "nothing-decoded-in-answers"
    BROKEN = "escapes in tool arguments and JSON are not undone before they are filtered"

    def install(self) -> None:
        swap("guards.text_filter:_EscapeLayer.read", lambda _: lambda *_given: [])


class NoSecondAttempt(_OfText):
    """See BROKEN."""

    NAME = "no-second-attempt"
    BROKEN = "after a catch the answer just ends, where another would have been given"

    def install(self) -> None:
        def ending(_: Any) -> Callable[..., AsyncGenerator[Any, None]]:
            async def wrong(run: Any, index: int, caught: Any) -> AsyncGenerator[Any, None]:
                for out in run._end(index, caught):  # noqa: SLF001
                    yield out

            return wrong

        swap("service.gateway.run:Run._after_catch", ending)


class SecondAttemptUnguarded(_OfText):
    """See BROKEN."""

    NAME = "second-attempt-unguarded"
    BROKEN = "after a catch the answer is asked for again without the caught policy's guards"

    def install(self) -> None:
        swap("guards.rules:Rules.escalated", lambda _: lambda _rules, case, _policy: case)


class FilterNotFinished(_OfText):
    """See BROKEN."""

    NAME = "held-text-let-out"
    BROKEN = "what is still held at the end of an answer leaves without a last look"

    def install(self) -> None:
        def let_out(_: Any) -> Callable[[Any], str]:
            def wrong(found: Any) -> str:
                rest: str = "" if found.caught else found._release(found._read)  # noqa: SLF001
                return rest

            return wrong

        swap("guards.text_filter:TextFilter.finish", let_out)


def _unfiltered(kind: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def broken(channel: Callable[..., Any]) -> Callable[..., Any]:
        def wrong(choice: Any, wanted: Any) -> Any:
            known = wanted in choice._channels  # noqa: SLF001
            scanned = channel(choice, wanted)
            if not known and wanted.kind == kind:
                scanned._filter = TextFilter(())  # noqa: SLF001
            return scanned

        return wrong

    return broken


def _unless(skipped: Callable[[Any], bool]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda new: lambda run: TextFilter(()) if skipped(run) else new(run)
