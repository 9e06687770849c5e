"""The choice itself, with measurements that are given instead of measured."""

from collections.abc import Mapping
from typing import Any, cast

import numpy as np
import pytest

from guards.policy import GuardSpec, Policy
from service.compiler import auto as auto_module
from service.compiler.auto import Auto, Budget
from service.compiler.candidates.candidate import Candidate, Ground
from service.compiler.certificate import Measures
from service.compiler.probe import Form, Probe, Use
from service.compiler.statistics import rate
from service.compiler.trial import Sheet, Trial


def _measures(leaks: int = 0, distance: float = 0.5, **other: Any) -> Measures:
    given: dict[str, Any] = {
        "leaks": rate(leaks, 60),
        "changed": rate(0, 150),
        "unmatched": rate(0, 60),
        "matched": rate(0, 150),
        "distance": distance,
        "p_value": 0.5,
        "fluency": 0.0,
        "cost": 1.0,
    }
    return Measures(**{**given, **other})


def _sheet() -> Sheet:
    about = tuple(
        Probe(str(n), f"Who is {n}?", Form.QUESTION, Use.FIT, about=True) for n in range(60)
    )
    return Sheet(about, about, (), np.zeros(0), 0.0)


class _Given(Trial):
    """Measures candidates as it is told to, by the kind of their last guard but the text filter."""

    def __init__(self, measures: Mapping[str, Measures]) -> None:
        self.known = measures
        self.asked: list[tuple[str, int]] = []

    def measures(self, policy: Policy, sheet: Sheet) -> Measures:
        assert policy.guards[-1].kind == "text_filter"
        name = "+".join(spec.kind for spec in policy.guards[:-1])
        self.asked.append((name, len(sheet.about)))
        return self.known[name]


@pytest.fixture(autouse=True)
def makers(monkeypatch: pytest.MonkeyPatch) -> None:
    def single(name: str) -> Any:
        return lambda ground: Candidate(name, (GuardSpec(name),))

    def behind(name: str) -> Any:
        def made(ground: Ground, base: Candidate | None = None) -> Candidate:
            before = base.guards if base else ()
            return Candidate(
                "+".join([*(each.kind for each in before), name]), (*before, GuardSpec(name))
            )

        return made

    for maker, name in (("stop_gap", "s"), ("zeroed", "z"), ("noised", "n")):
        monkeypatch.setattr(auto_module, maker, single(name))
    for maker, name in (("steered", "t"), ("evened", "e"), ("banned", "b")):
        monkeypatch.setattr(auto_module, maker, behind(name))


def _chosen(known: Mapping[str, Measures], **budget: float) -> tuple[str, _Given, Any]:
    trial = _Given(known)
    how = Budget(**{"changed": 0.02, "cost": 1.5, **budget})
    found = Auto(trial, Policy("fr_x", ("x",)), _sheet(), how).choose(cast("Ground", None))
    return found.candidate.name, trial, found.tried


_SINGLES = {
    "s": _measures(distance=0.7),
    "z": _measures(distance=0.6),
    "n": _measures(distance=0.65),
    "t": _measures(leaks=5, distance=0.1),
}


def test_no_leak_comes_before_likeness_and_additions_are_tried_on_the_best() -> None:
    known = {**_SINGLES, "z+e": _measures(distance=0.1), "z+t": _measures(distance=0.3)}
    name, trial, tried = _chosen(known)
    assert name == "z+e"
    assert ("t", 60) not in trial.asked  # it leaked on the few probes already
    assert {("z", 24), ("z", 60)} <= set(trial.asked)
    assert [each.name for each in tried if each.kept] == ["z+e"]
    why = {each.name: each.why for each in tried}
    assert "more leaks" in why["t"]
    assert "farther" in why["z+t"]


def test_words_are_banned_only_where_something_leaks() -> None:
    leaking = {name: _measures(leaks=3, distance=0.5) for name in _SINGLES}
    added = {f"s+{name}": _measures(leaks=2) for name in ("e", "t")}
    name, _, _ = _chosen({**leaking, **added, "s+b": _measures(leaks=0, distance=0.9)})
    assert name == "s+b"


def test_what_is_over_the_budget_is_kept_only_if_nothing_is_within_it() -> None:
    dear = _measures(distance=0.0, cost=9.0)
    careless = _measures(distance=0.0, changed=rate(10, 150))
    known = {"s": _measures(leaks=1), "z": dear, "n": careless, "t": _measures(leaks=2)}
    more = {f"s+{name}": _measures(leaks=4) for name in ("e", "t", "b")}
    name, _, tried = _chosen({**known, **more})
    assert name == "s"
    why = {each.name: each.why for each in tried}
    assert "cost" in why["z"]
    assert "near misses" in why["n"]


def test_when_time_is_up_what_was_measured_is_chosen_from() -> None:
    name, trial, _ = _chosen(_SINGLES, seconds=-1.0)
    assert name == "s"
    assert trial.asked == [("s", 24), ("s", 60)]
