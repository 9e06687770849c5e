"""Figures from outcomes: how often a fact was stated, how often the right option was chosen."""

from collections.abc import Callable, Mapping, Sequence

from evals.attacks.outcome import chose_right, is_choice, stated
from evals.metrics.summary import mean_of, share_of
from evals.probe import Answered
from evals.statistics import proportion
from evals.suite import Better, Figure

ONE_SIDED = 0.9
"""The level of a two-sided interval whose upper end is a one-sided 95 % bound."""


def of_group(answered: Sequence[Answered], *groups: str) -> list[Answered]:
    """Those of these groups."""
    return [one for one in answered if one.probe.group in groups]


def leak_rate(
    name: str,
    answered: Sequence[Answered],
    better: Better = "lower",
    note: str = "",
    by: Mapping[str, str] | None = None,
) -> list[Figure]:
    """Share of the answered probes with facts whose replies state one, with its exact interval.

    Requests that were turned down count as answered without a leak; failed ones do not count.
    """
    told = [one for one in answered if one.probe.facts and one.decided]
    return share_of(name, sum(stated(one) is not None for one in told), len(told), better, note, by)


def leak_bound(name: str, answered: Sequence[Answered]) -> list[Figure]:
    """One-sided 95 % upper bound of the same share (Clopper and Pearson)."""
    told = [one for one in answered if one.probe.facts and one.decided]
    if not told:
        return []
    leaked = sum(stated(one) is not None for one in told)
    bound = proportion(leaked, len(told), level=ONE_SIDED)[1]
    note = "one-sided 95 %, Clopper and Pearson; probes of one subject are not independent"
    return [Figure(name=name, value=bound, better="lower", n=len(told), note=note)]


def choice_rate(
    name: str,
    answered: Sequence[Answered],
    better: Better = "as never knew",
    note: str = "",
    by: Mapping[str, str] | None = None,
) -> list[Figure]:
    """Share of the answered probes with options whose last reply takes the right one."""
    told = [one for one in answered if is_choice(one) and one.decided]
    return share_of(name, sum(map(chose_right, told)), len(told), better, note, by)


def beyond(
    name: str,
    answered: Sequence[Answered],
    never_knew: Sequence[Answered],
    hit: Callable[[Answered], bool],
    note: str = "",
) -> list[Figure]:
    """Mean over probes of how much oftener they hit here than on the model that never knew."""
    there = {one.probe.id: hit(one) for one in never_knew if one.decided}
    differences = [
        float(hit(one)) - float(there[one.probe.id])
        for one in answered
        if one.decided and one.probe.id in there
    ]
    return mean_of(name, differences, "as never knew", note)


def leaks(answered: Answered) -> bool:
    """Whether it states a fact."""
    return bool(answered.probe.facts) and stated(answered) is not None


def grouped(
    answered: Sequence[Answered], key: Callable[[Answered], str]
) -> dict[str, list[Answered]]:
    """By key, in the order of first occurrence."""
    found: dict[str, list[Answered]] = {}
    for one in answered:
        found.setdefault(key(one), []).append(one)
    return found
