"""Faults in finding out what a prompt touches."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from evals.faults.fault import Fault, instead, swap
from guards import normaliser
from guards.case import Prompt, Span
from guards.decoding import as_written

_ROUTE = "guards.router:Router.route"
_SEGMENT = "guards.phrase_index:Segment.__init__"


class _OfDetection(Fault):
    LAYER = "L1"


class NoConfusables(_OfDetection):
    """See BROKEN."""

    NAME = "no-confusables"
    BROKEN = "the normaliser knows no look-alikes of other scripts"

    def install(self) -> None:
        instead("guards.normaliser:_glyph", lambda _char, _letters: "")
        _forget_foldings()


class ZeroWidthKept(_OfDetection):
    """See BROKEN."""

    NAME = "zero-width-kept"
    BROKEN = "invisible characters are taken for separators"

    def install(self) -> None:
        instead("guards.normaliser:_is_invisible", lambda _char: False)
        _forget_foldings()


class NoCaseFolding(_OfDetection):
    """See BROKEN."""

    NAME = "no-case-folding"
    BROKEN = "names are found only in the case in which they were given"

    def install(self) -> None:
        swap("guards.normaliser:_fold_ascii", lambda fold: lambda c: c if c.isalnum() else fold(c))
        _forget_foldings()


class NothingDecoded(_OfDetection):
    """See BROKEN."""

    NAME = "nothing-decoded"
    BROKEN = "nothing encoded in a prompt is decoded and looked at again"

    def install(self) -> None:
        swap("guards.phrase_index:readings", lambda _: lambda text: iter((as_written(text),)))


class OnlyPlainView(_OfDetection):
    """See BROKEN."""

    NAME = "only-plain-view"
    BROKEN = "reversed, rot13 and symbol readings of a prompt are left out"

    def install(self) -> None:
        def first(views: Callable[[str], Iterator[Any]]) -> Callable[[str], Iterator[Any]]:
            return lambda text: iter((next(views(text)),))

        swap("guards.phrase_index:views", first)


class OnlyLastMessage(_OfDetection):
    """See BROKEN."""

    NAME = "only-last-message"
    BROKEN = "only the last message of a conversation is classified"

    def install(self) -> None:
        swap(_ROUTE, lambda route: _routing(route, lambda p: _only(p, p.content[-1:])))


class OnlyTheHead(_OfDetection):
    """See BROKEN."""

    NAME = "only-the-head"
    BROKEN = "a prompt is classified up to its 400th character"

    def install(self) -> None:
        swap(_ROUTE, lambda route: _routing(route, lambda p: _only(p, [Span(0, 400)])))


class OnlyUsersClassified(_OfDetection):
    """See BROKEN."""

    NAME = "only-users-classified"
    BROKEN = "system, assistant and tool messages are not classified"

    def install(self) -> None:
        def only_users(prompt: Prompt) -> Prompt:
            mine = [s for s in prompt.content if prompt.text[: s.start].endswith("user\n")]
            return _only(prompt, mine) if mine else prompt

        swap(_ROUTE, lambda route: _routing(route, only_users))


class ThresholdRaised(_OfDetection):
    """See BROKEN."""

    NAME = "threshold-raised"
    BROKEN = "a prompt must be almost word for word like an example"

    def install(self) -> None:
        def raised(build: Any) -> Any:
            def wrong(cls: Any, epoch: Any, encoder: Any, _threshold: float, *given: Any) -> Any:
                return build.__func__(cls, epoch, encoder, 0.995, *given)

            return classmethod(wrong)

        swap("guards.rules:Rules.build", raised)


class ExamplesIgnored(_OfDetection):
    """See BROKEN."""

    NAME = "examples-ignored"
    BROKEN = "prompts are compared with aliases only, not with examples"

    def install(self) -> None:
        instead("guards.router:Router._alike", lambda *_: [])


class AliasesIgnored(_OfDetection):
    """See BROKEN."""

    NAME = "aliases-ignored"
    BROKEN = "only the first name of a policy is looked for"

    def install(self) -> None:
        swap(_SEGMENT, _over(lambda policy: policy.aliases[:1]))


class EverybodyBlocked(_OfDetection):
    """See BROKEN."""

    NAME = "everybody-blocked"
    BROKEN = "every prompt is taken to touch every policy"

    def install(self) -> None:
        def decide(decided: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(rules: Any, case: Any) -> Any:
                case = decided(rules, case)
                known = {match.policy for match in case.matches}
                for policy in rules.guards:
                    case = case if policy in known else rules.escalated(case, policy)
                return case

            return wrong

        swap("guards.rules:Rules.decide", decide)


class SurnamesBlocked(_OfDetection):
    """See BROKEN."""

    NAME = "surnames-blocked"
    BROKEN = "everybody who bears the surname of somebody forgotten is forgotten with them"

    def install(self) -> None:
        swap(_SEGMENT, _over(_with_surname))


class StopStringsUnseen(_OfDetection):
    """See BROKEN."""

    NAME = "beside-the-prompt-unseen"
    BROKEN = "stop strings and the literals of formats and tools are not classified"

    def install(self) -> None:
        swap(
            "service.gateway.schema:_generation",
            lambda made: lambda *given: replace(made(*given), extra=()),
        )


class OnlyFirstPrompt(_OfDetection):
    """See BROKEN."""

    NAME = "only-first-prompt"
    BROKEN = "of several prompts of a completions request only the first is classified"

    def install(self) -> None:
        swap("guards.rules:Rules.decide", _skipping(lambda case: _number_of(case.id) > 0))


class CompletionsIgnored(_OfDetection):
    """See BROKEN."""

    NAME = "completions-ignored"
    BROKEN = "policies are not applied to the completions API"

    def install(self) -> None:
        swap("guards.rules:Rules.decide", _skipping(lambda case: case.id.startswith("cmpl-")))


class OnlyOnePolicy(_OfDetection):
    """See BROKEN."""

    NAME = "only-one-policy"
    BROKEN = "of several policies that a prompt touches only one is applied"

    def install(self) -> None:
        swap(_ROUTE, lambda route: lambda *given: route(*given)[:1])


def _routing(route: Callable[..., Any], seen: Callable[[Prompt], Prompt]) -> Callable[..., Any]:
    def wrong(router: Any, prompt: Prompt, tenant: str, model: str) -> Any:
        return route(router, seen(prompt) if prompt.content else prompt, tenant, model)

    return wrong


def _only(prompt: Prompt, spans: Any) -> Prompt:
    """The prompt with blanks for all but these spans."""
    text = "".join(
        char if any(a <= place < b for a, b in spans) else " "
        for place, char in enumerate(prompt.text)
    )
    return replace(prompt, text=text)


def _skipping(skipped: Callable[[Any], bool]) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    return lambda decide: lambda rules, case: case if skipped(case) else decide(rules, case)


def _number_of(case_id: str) -> int:
    number = case_id.removesuffix("-again").rpartition("-")[2]
    return int(number) if case_id.startswith("cmpl-") and number.isdigit() else 0


def _over(aliases: Callable[[Any], Any]) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """A segment over other names than the policies'."""

    def broken(init: Callable[..., None]) -> Callable[..., None]:
        def wrong(segment: Any, policies: Any) -> None:
            init(segment, {d: replace(p, aliases=aliases(p)) for d, p in policies.items()})

        return wrong

    return broken


def _with_surname(policy: Any) -> tuple[str, ...]:
    return (*policy.aliases, policy.aliases[0].split()[-1])


def _forget_foldings() -> None:
    normaliser.sign.cache_clear()
    normaliser.fold.cache_clear()
