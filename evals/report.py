"""The report of a run: one page for those who answer for a service and for those who run it.

It stands alone: nothing in it comes from elsewhere, and nothing has to be executed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from evals import tables
from evals.charts import Point, Series, dots
from evals.leaks import Leaks
from evals.results import PartyResult, Results
from evals.run import replace_with
from evals.tables import Table, filled, percent

FILE = "report.html"
TEMPLATE = "report.html.j2"
LEAKING_SHOWN = 50
SERIES = 6
"""So many parties in one chart; more could not be told apart.  The tables have all."""

ROWS = 25
"""So many rows in one chart."""
_LEAK_AXIS = "share of prompts whose answer states something forgotten, with its 95 % interval"
_WHO = {
    "examined": "{name}",
    "compared": "{name}, for comparison",
    "never knew": "{name}, a model that never knew",
}


@dataclass(frozen=True)
class Statement:
    """One sentence of the summary.  role: of the party that it is about.  figure: leads it."""

    who: str
    role: str
    figure: str
    text: str


@dataclass(frozen=True)
class Chart:
    """svg: trusted markup, made here."""

    title: str
    svg: str


def write(folder: Path, results: Results) -> None:
    """Write report.html, whole or not at all."""
    replace_with(folder / FILE, render(results))


def render(results: Results) -> str:
    """The page."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    environment = Environment(
        loader=PackageLoader("evals"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    run = results.run
    return environment.get_template(TEMPLATE).render(
        run=run,
        begun=_said(run.starts[0].at) if run.starts else "",
        ended=_said(run.starts[-1].at) if run.starts else "",
        statements=[_statement(each) for each in results.parties],
        first=filled(_first_tables(results)),
        charts=[(chart.title, Markup(chart.svg)) for chart in _charts(results)],  # noqa: S704  (made by us)
        details=filled(_details(results)),
        leaking=[(each.party.name, each.leaking) for each in results.parties if each.leaking],
        shown=LEAKING_SHOWN,
    )


def _said(at: str) -> str:
    """A time of a start as people write it."""
    return datetime.fromisoformat(at).astimezone(UTC).strftime("%d %B %Y, %H:%M UTC")


def _first_tables(results: Results) -> list[Table]:
    return [
        tables.whole_leaks(results),
        tables.worst_attacks(results),
        tables.leaks_by(results, "layer", "By the layer of the defence that should stop it"),
        tables.promises(results),
        tables.utility(results),
        tables.kept_back(results),
        tables.costs(results),
        tables.asked(results),
    ]


def _details(results: Results) -> list[Table]:
    return [
        tables.leaks_by(results, "suite", "Leaks by suite"),
        tables.leaks_by(results, "attack", "Leaks by kind of attack"),
        *tables.figures(results),
        tables.versions(results),
        tables.starts(results),
    ]


def _statement(party: PartyResult) -> Statement:
    who = _WHO[party.party.role].format(name=party.party.name)
    whole = party.leaks[0] if party.leaks else None
    return Statement(who, party.party.role, _figure(whole), _in_words(whole))


def _figure(leaks: Leaks | None) -> str:
    if leaks is None or not leaks.asked:
        return ""
    return f"Leak rate {percent(leaks.rate)}, 95 % upper bound {percent(leaks.bound)}"


def _in_words(leaks: Leaks | None) -> str:
    if leaks is None or not leaks.asked:
        return "was not asked for anything forgotten in a way that can be counted."
    lost = f" {leaks.unanswered} more prompts got no answer." if leaks.unanswered else ""
    return (
        f"stated something that is to be forgotten in {leaks.leaked} of {leaks.asked} prompts that "
        f"ask for it ({percent(leaks.rate)}). With 95 % confidence, the rate for prompts like "
        f"these is at most {percent(leaks.bound)}.{lost}"
    )


def _charts(results: Results) -> list[Chart]:
    kinds = ("suite", "attack", "layer")
    charts = [
        _whole_chart(results),
        *(_leak_chart(results, kind, tables.leak_names(results, kind)) for kind in kinds),
        _latency_chart(results),
    ]
    return [chart for chart in charts if chart is not None]


def _whole_chart(results: Results) -> Chart | None:
    rows = [each.party.name for each in results.parties]
    points = [_leak_point(each.leaks[0] if each.leaks else None) for each in results.parties]
    return _drawn("leaks", "Leak rate", _LEAK_AXIS, rows, [Series("all prompts", points)])


def _leak_chart(results: Results, kind: str, names: Sequence[str]) -> Chart | None:
    rows = _worst(results, kind, names)
    series = [
        Series(each.party.name, [_leak_point(tables.leaks_at(each, kind, row)) for row in rows])
        for each in results.parties[:SERIES]
    ]
    of = f" (the {len(rows)} of {len(names)} with the highest rates)" if rows != names else ""
    return _drawn(f"leaks-{kind}", f"Leak rate by {kind}{of}", _LEAK_AXIS, rows, series)


def _worst(results: Results, kind: str, names: Sequence[str]) -> Sequence[str]:
    """At most ROWS names, those that somebody leaks most by, in the order of names."""

    def rate(name: str) -> float:
        held = [tables.leaks_at(each, kind, name) for each in results.parties]
        return max((leaks.rate or 0.0 for leaks in held if leaks), default=0.0)

    worst = set(sorted(names, key=rate, reverse=True)[:ROWS])
    return [name for name in names if name in worst]


def _leak_point(leaks: Leaks | None) -> Point | None:
    if leaks is None or leaks.rate is None:
        return None
    label = f"{leaks.leaked} / {leaks.asked}"
    return Point(leaks.rate, leaks.low, leaks.high, label)


def _latency_chart(results: Results) -> Chart | None:
    rows = [each.party.name for each in results.parties]
    series = []
    for name, quantile in (("p50", "seconds_p50"), ("p99", "seconds_p99")):
        values = [getattr(each.cost, quantile) for each in results.parties]
        series.append(Series(name, [_at(value) for value in values]))
    title, axis = "Time until an answer is complete", "seconds from request to last byte"
    return _drawn("latency", title, axis, rows, series)


def _drawn(
    key: str, title: str, axis: str, rows: Sequence[str], series: Sequence[Series]
) -> Chart | None:
    if not any(point for one in series for point in one.points):
        return None
    return Chart(title, dots(key, title, _spoken(rows, series), axis, rows, series))


def _at(seconds: float | None) -> Point | None:
    return None if seconds is None else Point(seconds, seconds, seconds, f"{seconds * 1000:.0f} ms")


def _spoken(rows: Sequence[str], series: Sequence[Series]) -> str:
    """A chart in words."""
    said = [
        f"{row}, {one.name}: {point.label}"
        for place, row in enumerate(rows)
        for one in series
        if (point := one.points[place]) is not None
    ]
    return "; ".join(said) + "."
