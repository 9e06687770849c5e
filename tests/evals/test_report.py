"""The report stands alone, says what the results say, and can be read without seeing."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from evals.charts import Point, Series, dots
from evals.report import render, write
from evals.results import Results, results_of
from evals.run import begin
from evals.suite import Figure
from evals.tables import percent
from tests.evals.small_run import SUITES, Scripted, contestant, finished, forgot, run_of, three

VOID = {"meta", "link", "img", "br", "hr", "input"}


class Page(HTMLParser):
    """What a page is made of; raises where its elements are not nested."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.tables: list[list[list[str]]] = []
        self._open: list[str] = []
        self.feed(html)
        self.close()
        assert not self._open, self._open

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def of(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]

    def row(self, heading: str) -> list[str]:
        """The first row that begins so."""
        return next(row for table in self.tables for row in table if row[:1] == [heading])

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self._open.append(tag)
        if tag == "table":
            self.tables.append([])
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)
        if self._open and self._open[-1] in ("td", "th"):
            self.tables[-1][-1][-1] += data


@pytest.fixture(scope="module")
def results(tmp_path_factory: pytest.TempPathFactory) -> Results:
    folder = tmp_path_factory.mktemp("run")
    finished(folder, three())
    return results_of(folder, SUITES)


@pytest.fixture(scope="module")
def page(results: Results) -> Page:
    return Page(render(results))


def test_it_says_in_words_how_often_everybody_told(page: Page) -> None:
    assert (
        "lethe stated something that is to be forgotten in 1 of 4 prompts that ask for it (25.0%). "
        "With 95 % confidence, the rate for prompts like these is at most 75.1%." in page.text
    )
    assert "stock, for comparison stated something that is to be forgotten in 4 of 4" in page.text
    assert "twin, a model that never knew stated something" in page.text
    assert "Leak rate 25.0%, 95 % upper bound 75.1%" in page.text


def test_the_first_part_is_in_plain_words_and_engineers_have_the_figures_names(
    results: Results,
) -> None:
    named = {"tofu": "model_utility", "over_blocking": "refused", "enforcement": "passed"}
    suites = tuple(
        results.parties[0].suites[0].model_copy(
            update={
                "suite": suite,
                "figures": tuple(
                    Figure(name=each, value=value, better="higher", n=7, by=by)
                    for each, value, by in (
                        (name, 0.5, {}), ("priv", 0.25, {}), (name, 0.125, {"kind": "x"}),
                    )
                ),
            }
        )
        for suite, name in named.items()
    )  # fmt: skip
    party = results.parties[0].model_copy(update={"suites": suites})
    page = Page(render(results.model_copy(update={"parties": (party,)})))
    first, engineers = page.text.split("How to read this", 1)
    for words in ("usefulness as a whole", "refused (less is better)", "checks that are passed"):
        assert words in first
        assert next(row[1] for t in page.tables for row in t if row[0].startswith(words)) == (
            "0.5, n 7"
        )
    assert "priv" not in first
    assert "0.125" not in first
    assert page.row("priv")[2] == "0.25, n 7"
    assert "model_utility" in engineers


def test_tables_hold_the_counts_by_attack_and_layer(page: Page) -> None:
    assert page.row("lethe (examined)") == [
        "lethe (examined)",
        "4",
        "1",
        "25.0%",
        "75.1%",
        "0",
        "0",
    ]
    bound_of_none_in_one = "≤ 95.0%"
    assert page.row("base64")[1] == f"0 / 1 ({bound_of_none_in_one})"
    assert page.row("homoglyphs")[1:3] == ["1 / 2 (≤ 97.5%)", "2 / 2 (≤ 100.0%)"]
    assert page.row("router")[1].startswith("1 / 3")


def test_layers_are_named_in_words_where_the_attacks_name_them(results: Results) -> None:
    [_, suite, *_] = results.parties[0].leaks
    leaks = suite.model_copy(update={"by": {"layer": "L3"}})
    party = results.parties[0].model_copy(update={"leaks": (leaks,)})
    page = Page(render(results.model_copy(update={"parties": (party,)})))
    assert page.row("L3: token filtering")[1].startswith("1 / 4")


def test_what_an_endpoint_does_not_offer_is_said_as_such(results: Results) -> None:
    party = results.parties[0]
    suite = party.suites[0].model_copy(update={"unread": 3})
    party = party.model_copy(update={"suites": (suite,)})
    page = Page(render(results.model_copy(update={"parties": (party,)})))
    assert page.row("births")[2] == "4; likelihood not offered by this endpoint for 3"
    assert "where a policy replaces the model's answer" in page.text
    assert "not offered" not in Page(render(results)).text


def test_the_first_page_names_the_attacks_by_which_somebody_examined_leaks(page: Page) -> None:
    [first] = [table for table in page.tables if table[1:2] and table[1][0].startswith("all 2 ki")]
    assert [row[:2] for row in first[1:]] == [
        ["all 2 kinds together", "1 / 3 (≤ 86.5%)"],
        ["homoglyphs", "1 / 2 (≤ 97.5%)"],
    ]
    assert "By 1 of 2 kinds nobody examined leaked anything" in page.text


def test_a_chart_has_the_worst_rows_in_the_order_of_their_names(results: Results) -> None:
    [_, suite, *_] = results.parties[0].leaks
    leaks = [
        suite.model_copy(update={"by": {"attack": f"E{number}"}, "leaked": int(number > 5)})
        for number in range(1, 31)
    ]
    party = results.parties[0].model_copy(update={"leaks": tuple(leaks)})
    page = Page(render(results.model_copy(update={"parties": (party,)})))
    said = page.text[page.text.index("E6, lethe") :]
    places = [said.index(f"E{number}, lethe") for number in range(6, 31)]
    assert places == sorted(places)
    assert "E5, lethe" not in page.text
    assert "the 25 of 30 with the highest rates" in page.text


def test_costs_stand_beside_the_baseline(page: Page) -> None:
    assert page.row("99 of 100 answers within (p99)")[1:] == ["500 ms (1.00 ×)"] * 3
    assert page.row("first words, half within (p50)")[1] == "250 ms (1.00 ×)"
    assert page.row("tokens a second, of one answer")[1] == "8.0 (1.00 ×)"


def test_figures_are_shown_whatever_the_suite(page: Page) -> None:
    assert page.row("told")[1:5] == ["lower", "0.25, n 4", "1, n 4", "0, n 4"]
    assert page.row("beyond chance")[1] == "as never knew"
    assert page.row("births")[1:] == ["made up", "4", "4", "4"]
    assert page.row("choosy")[1] == "left out: it needs choices"


def test_the_run_can_be_repeated(page: Page, results: Results) -> None:
    assert results.run.command in page.text
    assert results.run.knowledge in page.text
    assert page.row("model.id")[1:] == ["lethe 1", "stock 1", "twin 1"]
    assert "births/0-1" in page.text


def test_nothing_comes_from_elsewhere_and_nothing_is_executed(page: Page) -> None:
    for tag in ("script", "link", "img", "iframe", "object", "embed", "base", "form"):
        assert not page.of(tag)
    for tag, attributes in page.elements:
        for name, value in attributes.items():
            assert not name.startswith("on"), (tag, name)
            if name in ("href", "src", "xlink:href", "srcset", "action", "data"):
                assert (value or "").startswith("#"), (tag, value)
            if name == "style":
                assert "url(" not in (value or "")
    [policy] = [each["content"] for each in page.of("meta") if "http-equiv" in each]
    assert policy == "default-src 'none'; style-src 'unsafe-inline'"


def test_styles_load_nothing(results: Results) -> None:
    for style in re.findall(r"<style.*?</style>", render(results), re.DOTALL):
        assert "url(" not in style
        assert "@import" not in style


def test_charts_can_be_read_without_seeing_them(page: Page) -> None:
    charts = page.of("svg")
    assert len(charts) == 5
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    for chart in charts:
        assert chart["role"] == "img"
        assert chart["aria-labelledby"] in ids
        assert chart["aria-describedby"] in ids
    assert "homoglyphs, lethe: 1 / 2; homoglyphs, stock: 2 / 2" in page.text


def test_what_a_chart_refers_to_is_in_it(page: Page) -> None:
    ids = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    wanted = re.findall(r'(?:href="#|url\(#)([^")]+)', str(page.elements).replace("'", '"'))
    links = [attributes.get("xlink:href") for _, attributes in page.elements]
    assert {link.removeprefix("#") for link in links if link} <= ids
    assert set(wanted) <= ids


def test_tables_have_captions_and_headings(page: Page) -> None:
    assert len(page.of("caption")) == len(page.of("table")) >= 8
    assert {heading.get("scope") for heading in page.of("th")} == {"row", "col"}
    assert page.of("html") == [{"lang": "en"}]


def test_what_endpoints_and_suites_say_is_text_only(results: Results) -> None:
    odd = "<script>alert(1)</script>"
    figure = results.parties[0].suites[0].figures[0].model_copy(update={"name": odd, "note": odd})
    suite = results.parties[0].suites[0].model_copy(update={"figures": (figure,)})
    party = results.parties[0].model_copy(update={"suites": (suite,), "versions": {odd: odd}})
    page = Page(render(results.model_copy(update={"parties": (party,)})))
    assert not page.of("script")
    assert odd in page.text


def test_what_was_said_is_not_in_it(results: Results) -> None:
    assert "Dunmere" not in render(results)


def test_no_chart_has_more_parties_than_can_be_told_apart(results: Results) -> None:
    lethe = results.parties[0]
    named = [lethe.party.model_copy(update={"name": f"method-{n}"}) for n in range(9)]
    parties = tuple(lethe.model_copy(update={"party": party}) for party in named)
    page = Page(render(results.model_copy(update={"parties": parties})))
    assert "homoglyphs, method-5: 1 / 2" in page.text
    assert "homoglyphs, method-6: 1 / 2" not in page.text
    assert "method-8, all prompts: 1 / 4" in page.text


def test_a_run_with_no_answers_has_a_report(tmp_path: Path) -> None:
    begin(tmp_path, run_of(three()))
    page = Page(render(results_of(tmp_path, SUITES)))
    assert "lethe was not asked for anything forgotten in a way that can be counted." in page.text
    assert "There are no answers yet to draw." in page.text


def test_answers_without_times_have_a_report(tmp_path: Path) -> None:
    finished(tmp_path, [contestant(Scripted("lethe", forgot))])
    bare = results_of(tmp_path, SUITES)
    cost = bare.parties[0].cost.model_copy(update=dict.fromkeys(("seconds_p50", "seconds_p99")))
    party = bare.parties[0].model_copy(update={"cost": cost})
    assert len(Page(render(bare.model_copy(update={"parties": (party,)}))).of("svg")) == 4


def test_it_is_written_whole(results: Results, tmp_path: Path) -> None:
    write(tmp_path, results)
    assert (tmp_path / "report.html").read_text() == render(results)
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize(
    ("share", "shown"),
    [(0.0, "0.0%"), (0.0007, "0.07%"), (0.25, "25.0%"), (1.0, "100.0%"), (None, "–")],
)
def test_small_shares_are_told_from_nothing(share: float | None, shown: str) -> None:
    assert percent(share) == shown


def test_points_lie_where_their_values_are() -> None:
    points = [Point(0.0, 0.0, 0.5, "none"), None, Point(1.0, 0.5, 1.0, "all")]
    svg = dots("k", "T", "D", "share", ["a", "b", "c"], [Series("s", points)])
    page = Page(svg)
    marks = [use for use in page.of("use") if "fill: #0072b2" in (use.get("style") or "")]
    assert len(marks) == 6  # both ends of both intervals, then the points themselves
    (left, top), (right, bottom) = [(float(m["x"] or 0), float(m["y"] or 0)) for m in marks[-2:]]
    assert left < right
    assert top < bottom
    assert all(name in page.text for name in ("a", "b", "c", "share", "none", "all"))
