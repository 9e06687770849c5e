"""The tables of a report, as text: leaks, costs, figures, versions."""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from evals.costs import Cost
from evals.layers import LAYERS
from evals.leaks import Leaks, counted
from evals.plain_words import HELD_BACK, KEPT, PROMISES, Words
from evals.results import PartyResult, Results, SuiteResult
from evals.suite import Figure

NONE = "–"
_NOT_OFFERED = "likelihood not offered by this endpoint"
_WHY_NOT = (
    "where a policy replaces the model's answer, or the engine cannot score, there is no "
    "likelihood to tell. Figures that need one are made of the other probes."
)

By = tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Table:
    """columns: headings; the first cell of each row names it.  Empty without rows."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    note: str = ""


def percent(share: float | None) -> str:
    """A share, with as many digits as tell it from 0."""
    if share is None:
        return NONE
    return f"{share:.1%}" if share >= 0.01 or share == 0 else f"{share:.2%}"


def whole_leaks(results: Results) -> Table:
    """Leak rate and bound of everybody."""
    rows = [
        [
            f"{each.party.name} ({each.party.role})",
            str(leaks.asked),
            str(leaks.leaked),
            percent(leaks.rate),
            percent(leaks.bound),
            str(leaks.refused),
            str(leaks.unanswered),
        ]
        for each in results.parties
        for leaks in each.leaks[:1]
    ]
    columns = ("", "asked", "stated", "leak rate", "95 % upper bound", "turned down", "no answer")
    note = (
        "Stated: any reply in any field contains a forgotten fact. Turned down: refused as a "
        "request, counted as asked. No answer: failed, not counted."
    )
    return Table("How often something forgotten was stated", columns, rows, note)


def leaks_by(results: Results, kind: str, caption: str) -> Table:
    """Of everybody, by ``suite``, ``attack`` or ``layer``."""
    names = leak_names(results, kind)
    said = LAYERS if kind == "layer" else {}
    rows = [
        [_with(name, said), *(_cell(leaks_at(each, kind, name)) for each in results.parties)]
        for name in names
    ]
    note = "Stated / asked; in brackets the 95 % upper bound of the rate."
    return Table(caption, ("", *_parties(results)), rows, note)


def _with(name: str, said: Mapping[Any, str]) -> str:
    return f"{name}: {said[name]}" if name in said else name


def worst_attacks(results: Results) -> Table:
    """All kinds of attack together, and those by which somebody examined leaks."""
    names = leak_names(results, "attack")
    examined = [each for each in results.parties if each.party.role == "examined"]
    worst = [
        name
        for name in names
        if any((held := leaks_at(each, "attack", name)) and held.leaked for each in examined)
    ]
    rows = [
        [name, *(_cell(leaks_at(each, "attack", name)) for each in results.parties)]
        for name in worst
    ]
    together = [_cell(_together(each, "attack")) for each in results.parties]
    note = (
        f"Stated / asked; in brackets the 95 % upper bound of the rate. By "
        f"{len(names) - len(worst)} of {len(names)} kinds nobody examined leaked anything: they "
        "are in the chart and in the tables for engineers."
    )
    whole = [[f"all {len(names)} kinds together", *together]] if names else []
    return Table("By kind of attack", ("", *_parties(results)), [*whole, *rows], note)


def leak_names(results: Results, kind: str) -> list[str]:
    """What leaks were counted by; numbers in names by their value."""
    found = {leaks.by[kind] for each in results.parties for leaks in each.leaks if kind in leaks.by}
    return sorted(found, key=_natural)


def _natural(name: str) -> list[tuple[int, str]]:
    return [(int(part), "") if part.isdigit() else (-1, part) for part in re.split(r"(\d+)", name)]


def leaks_at(party: PartyResult, kind: str, name: str) -> Leaks | None:
    """The count of one party."""
    return next((leaks for leaks in party.leaks if leaks.by.get(kind) == name), None)


def costs(results: Results) -> Table:
    """Latency and speed, each relative to the baseline's."""
    base = results.baseline.cost if results.baseline else None
    kinds: list[tuple[str, Callable[[Cost], float | None], str]] = [
        ("half of the answers within (p50)", lambda cost: cost.seconds_p50, "ms"),
        ("99 of 100 answers within (p99)", lambda cost: cost.seconds_p99, "ms"),
        ("first words, half within (p50)", lambda cost: cost.first_p50, "ms"),
        ("first words, 99 of 100 within (p99)", lambda cost: cost.first_p99, "ms"),
        ("tokens a second, of one answer", lambda cost: cost.tokens_per_second, ""),
    ]
    rows = [
        [
            name,
            *(
                _relative(get(each.cost), get(base) if base else None, unit)
                for each in results.parties
            ),
        ]
        for name, get, unit in kinds
        if any(get(each.cost) is not None for each in results.parties)
    ]
    rows.append(["requests answered", *(str(each.cost.requests) for each in results.parties)])
    rows.append(["questions that failed", *(str(each.cost.failed) for each in results.parties)])
    beside = f"; in brackets relative to {results.baseline.party.name}" if results.baseline else ""
    note = f"As a client sees it, over all suites{beside}. Only of use on equal machines and load."
    return Table("What answering costs", ("", *_parties(results)), rows, note)


def utility(results: Results) -> Table:
    """Figures of the whole that have to stay high."""
    return _in_words("What has to stay: more is better, 1 is all", results, KEPT)


def kept_back(results: Results) -> Table:
    """What is wrongly held back."""
    return _in_words("Innocent questions: what was wrongly held back", results, HELD_BACK)


def promises(results: Results) -> Table:
    """What has to hold in full."""
    return _in_words("Promises kept: anything below 1 is a fault", results, PROMISES)


def asked(results: Results) -> Table:
    """Suites, whose protocol each is, and how many probes everybody was put."""
    suites = results.parties[0].suites if results.parties else ()
    rows = [
        [one.suite, one.source, *(_put(each.suites[place]) for each in results.parties)]
        for place, one in enumerate(suites)
    ]
    rows += [[name, f"left out: {why}"] for name, why in results.run.skipped.items()]
    columns = ("suite", "protocol", *(f"probes put to {name}" for name in _parties(results)))
    unread = any(one.unread for each in results.parties for one in each.suites)
    note = f"{_NOT_OFFERED[0].upper()}{_NOT_OFFERED[1:]}: {_WHY_NOT}" if unread else ""
    return Table("What was asked", columns, rows, note)


def _put(suite: SuiteResult) -> str:
    return f"{suite.asked}; {_NOT_OFFERED} for {suite.unread}" if suite.unread else str(suite.asked)


def figures(results: Results) -> list[Table]:
    """Every figure of every suite."""
    suites = results.parties[0].suites if results.parties else ()
    return [_figures(results, one.suite, one.source) for one in suites]


def versions(results: Results) -> Table:
    """What everything was, in the newest start; and the run's own packages."""
    told = {each.party.name: each.versions for each in results.parties}
    keys = list(dict.fromkeys(key for each in told.values() for key in each))
    rows = [[key, *(each.get(key, NONE) for each in told.values())] for key in keys]
    return Table("What answered", ("", *told), rows)


def starts(results: Results) -> Table:
    """When the run was worked on, and with what."""
    rows = [
        [
            start.at,
            str(start.concurrency),
            ", ".join(f"{name} {value}" for name, value in start.versions.items()),
        ]
        for start in results.run.starts
    ]
    return Table("When it was asked", ("begun (UTC)", "probes at a time", "versions"), rows)


def number(value: float) -> str:
    """Four digits."""
    return f"{value:.4g}"


def restricted(by: Mapping[str, str]) -> str:
    """``by`` of a figure, for a heading."""
    return ", ".join(f"{key}: {value}" for key, value in by.items())


def _figures(results: Results, suite: str, source: str) -> Table:
    held = [_of_suite(each, suite) for each in results.parties]
    keys = dict.fromkeys(_key(one) for one_party in held for one in one_party)
    by_key = [{_key(one): one for one in one_party} for one_party in held]
    rows = [_row(key, [one_party.get(key) for one_party in by_key]) for key in keys]
    columns = ("figure", "better", *_parties(results), "to be read with")
    return Table(f"{suite} ({source})", columns, rows, "Value [95 % interval], n: probes.")


def _row(key: tuple[str, By], found: Sequence[Figure | None]) -> list[str]:
    name, by = key
    there = [one for one in found if one is not None]
    heading = f"{name} ({restricted(dict(by))})" if by else name
    notes = list(dict.fromkeys(one.note for one in there if one.note))
    return [heading, there[0].better, *(_value(one) for one in found), "; ".join(notes)]


def _in_words(caption: str, results: Results, words: Words) -> Table:
    """The figures of the whole that there are words for."""
    rows = []
    for (suite, name), said in words.items():
        held = [_whole(each, suite, name) for each in results.parties]
        if any(held):
            rows.append([said, *map(_value, held)])
    note = "In square brackets the 95 % interval, where there is one; n: questions."
    return Table(caption, ("", *_parties(results)), rows, note)


def _whole(party: PartyResult, suite: str, name: str) -> Figure | None:
    # Of several conventions the first, the suite's own.
    found = (one for one in _of_suite(party, suite) if one.name == name and not one.by)
    return next(found, None)


def _of_suite(party: PartyResult, suite: str) -> Sequence[Figure]:
    return next((one.figures for one in party.suites if one.suite == suite), ())


def _key(figure: Figure) -> tuple[str, By]:
    return figure.name, tuple(sorted(figure.by.items()))


def _value(figure: Figure | None) -> str:
    if figure is None:
        return NONE
    interval = ""
    if figure.low is not None and figure.high is not None:
        interval = f" [{number(figure.low)}, {number(figure.high)}]"
    return f"{number(figure.value)}{interval}, n {figure.n}"


def _cell(leaks: Leaks | None) -> str:
    if leaks is None or not leaks.asked:
        return NONE
    return f"{leaks.leaked} / {leaks.asked} (≤ {percent(leaks.bound)})"


def _together(party: PartyResult, kind: str) -> Leaks | None:
    held = [leaks for leaks in party.leaks if kind in leaks.by]
    if not held:
        return None
    asked, leaked = sum(leaks.asked for leaks in held), sum(leaks.leaked for leaks in held)
    refused, unanswered = (
        sum(leaks.refused for leaks in held),
        sum(leaks.unanswered for leaks in held),
    )
    return counted({}, asked, leaked, refused, unanswered)


def _relative(value: float | None, base: float | None, unit: str) -> str:
    if value is None:
        return NONE
    shown = f"{value * 1000:.0f} ms" if unit == "ms" else f"{value:.1f}"
    return f"{shown} ({value / base:.2f} ×)" if base else shown


def _parties(results: Results) -> list[str]:
    return [each.party.name for each in results.parties]


def filled(tables: Iterable[Table]) -> list[Table]:
    """Those that have rows."""
    return [table for table in tables if table.rows]
