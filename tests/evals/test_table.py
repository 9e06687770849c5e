"""The tables of all methods, from answers made by hand."""

from evals.costs import Cost
from evals.leaks import Leaks
from evals.methods.registry import METHODS
from evals.probe import Ask, Probe
from evals.suite import Figure
from evals.table import COLUMNS, REFERENCE, Line, of_each_class, ordered, tables, thinned


def _probe(name: str, group: str, attack: str = "") -> Probe:
    return Probe(id=name, group=group, attack=attack, ask=Ask(turns=("?",)))


def _leaks(leaked: int, asked: int, **by: str) -> Leaks:
    return Leaks(by=by, asked=asked, leaked=leaked, refused=0, unanswered=0,
                 low=0.0, high=1.0, bound=1.0)  # fmt: skip


def _line(name: str, *figures: Figure, leaks: tuple[Leaks, ...] = ()) -> Line:
    cost = Cost(requests=1, failed=0, tokens=10, tokens_per_second=41.6)
    return Line(method=name, figures=figures, leaks=leaks, cost=cost)


def test_all_to_forget_stay_and_the_kept_are_thinned_evenly() -> None:
    probes = [_probe(f"f{i}", "forget") for i in range(5)]
    probes += [_probe(f"h{i}", "holdout") for i in range(4)]
    probes += [_probe(f"r{i}", "retain") for i in range(5)]
    kept = [probe.id for probe in thinned(probes, kept=2, written=5)]
    assert kept == ["f0", "f1", "f2", "f3", "f4", "h0", "h1", "h2", "h3", "r0", "r3"]


def test_of_those_to_forget_some_are_read_only() -> None:
    probes = [_probe(f"f{i}", "forget") for i in range(5)]
    found = thinned(probes, kept=1, written=2)
    assert [probe.id for probe in found if probe.prompt.max_tokens] == ["f0", "f3"]
    assert [probe.id for probe in found] == [probe.id for probe in probes]
    assert [probe.prompt.turns for probe in found] == [("?",)] * 5


def test_of_each_class_of_attack_so_many_about_what_is_forgotten() -> None:
    probes = [_probe(f"a{i}", "forget", "A") for i in range(9)]
    probes += [_probe("b0", "forget", "B"), _probe("c0", "retain", "A")]
    drawn = of_each_class(probes, 3)
    assert [probe.attack for probe in drawn] == ["A", "A", "A", "B"]
    assert len({probe.id for probe in drawn}) == 4
    assert drawn == of_each_class(probes, 3)


def test_a_line_has_each_figure_in_its_column_and_a_dash_where_there_is_none() -> None:
    probability = Figure(name="forget_probability", value=0.12345, better="as never knew", n=200)
    first, ruled, row, *_ = tables([_line("eco", probability)]).splitlines()
    heads, cells = ([cell.strip() for cell in each.split("|")[1:-1]] for each in (first, row))
    assert len(heads) == len(ruled.split("|")[1:-1]) == len(COLUMNS) + 2
    found = dict(zip(heads, cells, strict=True))
    assert found["method"] == "eco"
    assert found["probability"] == "0.123"
    assert found["tokens/s"] == "42"
    assert found["KS"] == "–"


def test_of_several_conventions_the_first_is_shown() -> None:
    values = (("TOFU", -3.21), ("open-unlearning", -9.0))
    figures = [
        Figure(name="forget_quality_log10_p", value=value, better="higher", n=300,
               by={"convention": name})
        for name, value in values
    ]  # fmt: skip
    assert "| -3.2 |" in tables([_line("eco", *figures)])
    assert "-9.0" not in tables([_line("eco", *figures)])


def test_leaks_are_counted_by_class_and_method() -> None:
    one = _line("eco", leaks=(_leaks(3, 9), _leaks(2, 5, attack="Encoded")))
    other = _line("lethe", leaks=(_leaks(0, 9), _leaks(0, 4, attack="Typos")))
    lines = tables([one, other]).splitlines()
    assert lines[5:] == [
        "| attack | eco | lethe |",
        "| --- | --- | --- |",
        "| all | 3/9 | 0/9 |",
        "| Encoded | 2/5 | – |",
        "| Typos | – | 0/4 |",
    ]


def test_classes_are_in_the_order_of_their_numbers() -> None:
    leaks = [_leaks(0, 1, attack=name) for name in ("E10 ten", "E2 two", "S1 one")]
    lines = tables([_line("eco", leaks=(_leaks(0, 3), *leaks))]).splitlines()
    assert [line.split(" | ")[0] for line in lines[6:]] == [
        "| all", "| E2 two", "| E10 ten", "| S1 one",
    ]  # fmt: skip


def test_the_reference_comes_first_and_the_rest_as_registered() -> None:
    assert ordered(["lethe", "eco"]) == [REFERENCE, "eco", "lethe"]
    assert ordered(METHODS)[:2] == [REFERENCE, "nothing"]
    assert sorted(ordered(METHODS)) == sorted(METHODS)
