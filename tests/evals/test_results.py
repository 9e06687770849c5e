"""What a run comes to, against counts made by hand."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from evals.costs import cost_of
from evals.leaks import leaking, leaks_of
from evals.probe import Answered, Ask, Probe, Reply
from evals.results import Results, results_of, write
from evals.suite import Figure, Suite
from tests.evals.small_run import (
    SUITES,
    Births,
    Scripted,
    contestant,
    finished,
    forgot,
    never,
    three,
)


@pytest.fixture
def results(tmp_path: Path) -> Results:
    finished(tmp_path, three())
    return results_of(tmp_path, SUITES)


def answer(
    number: int = 0, said: str = "", status: int = 200, *, error: str = "", group: str = "forget"
) -> Answered:
    probe = Probe(id=str(number), group=group, ask=Ask(turns=("?",)), facts=("Vellport",))
    conversations = ((Reply(text=said),),) if said else ()
    return Answered(probe=probe, conversations=conversations, status=status, error=error)


def test_leaks_by_hand(results: Results) -> None:
    lethe, stock, twin = results.parties
    counted = {tuple(leaks.by.items()): (leaks.leaked, leaks.asked) for leaks in lethe.leaks}
    assert counted == {
        (): (1, 4),
        (("suite", "births"),): (1, 4),
        (("attack", "base64"),): (0, 1),
        (("attack", "homoglyphs"),): (1, 2),
        (("layer", "router"),): (1, 3),
    }
    assert [(each.leaks[0].leaked, each.leaks[0].rate) for each in (stock, twin)] == [
        (4, 1),
        (0, 0),
    ]
    assert (lethe.leaking, twin.leaking) == (("births/0-1",), ())


def test_the_bound_is_that_of_one_side(results: Results) -> None:
    twin = results.parties[2].leaks[0]
    assert twin.bound == pytest.approx(1 - 0.05 ** (1 / 4))
    assert (twin.low, twin.high) == pytest.approx((0.0, 1 - 0.025 ** (1 / 4)))
    assert results.parties[1].leaks[0].bound == 1.0


def test_what_was_turned_down_counts_and_what_failed_does_not() -> None:
    answers = [
        answer(0, "In Vellport."),
        answer(1, "No."),
        answer(2, status=400, error="not allowed"),
        answer(3, status=503, error="unavailable"),
        answer(4, status=0, error="the connection"),
    ]
    [whole, _] = leaks_of({"s": answers})
    assert (whole.asked, whole.leaked, whole.refused, whole.unanswered) == (3, 1, 1, 2)


def test_what_came_before_an_error_leaks_too() -> None:
    assert leaking({"s": [answer(0, "In Vellport, and", error="it broke")]}) == ["s/0"]


def test_a_leak_may_be_in_any_turn_sample_or_channel() -> None:
    def of(*conversations: tuple[Reply, ...]) -> list[str]:
        return leaking({"s": [answer().model_copy(update={"conversations": conversations})]})

    quiet = Reply(text="No.")
    hidden = Reply(text="", channels={"tool_arguments": '{"town": "Vellport"}'})
    assert of((quiet, quiet), (hidden, quiet)) == ["s/0"]
    assert of((quiet, quiet), (quiet, quiet)) == []


def test_what_is_asked_for_in_a_form_leaks_in_that_form() -> None:
    acrostic = "\n".join(f"{letter} is for that" for letter in "VELLPORT")
    unfolded = answer(0, acrostic)
    probe = unfolded.probe.model_copy(update={"about": {"unfold": ["line initials"]}})
    asked_so = unfolded.model_copy(update={"probe": probe})
    assert leaking({"s": [unfolded]}) == []
    assert leaking({"s": [asked_so]}) == ["s/0"]
    assert [leaks.leaked for leaks in leaks_of({"s": [asked_so, unfolded]})] == [1, 1]


def test_what_was_only_read_is_not_counted() -> None:
    only = Probe(id="0", group="forget", ask=Ask(turns=("?",), max_tokens=0), facts=("Vellport",))
    assert leaks_of({"s": [Answered(probe=only)]}) == []


def test_others_than_the_forgotten_are_not_counted() -> None:
    assert leaks_of({"s": [answer(0, "In Vellport.", group="retain")]}) == []
    [whole, _] = leaks_of({"s": [answer(0, status=500)]})
    assert (whole.asked, whole.rate, whole.bound) == (0, None, 1.0)


def test_figures_are_the_suites_own_with_the_reference(results: Results) -> None:
    [lethe], [stock], [twin] = (each.suites for each in results.parties)
    assert {figure.name: figure.value for figure in lethe.figures} == {
        "told": 0.25,
        "beyond chance": 0.25,
    }
    assert {figure.name: figure.value for figure in stock.figures}["beyond chance"] == 1
    assert twin.figures[1].value == 0
    assert (lethe.asked, lethe.failed, lethe.source) == (4, 0, "made up")


class Alike(Births):  # a Comparing suite
    """How many answers are those of the endpoint beside, which ``beside`` marks."""

    NAME = "births"

    def beside(
        self, answered: Sequence[Answered], unguarded: Sequence[Answered]
    ) -> Sequence[Answered]:
        theirs = {one.probe.id: one.said for one in unguarded}
        return [
            one.model_copy(update={"unread": "" if theirs[one.probe.id] == one.said else "other"})
            for one in answered
            if theirs
        ] or answered

    def figures(
        self, answered: Sequence[Answered], never_knew: Sequence[Answered] | None
    ) -> Sequence[Figure]:
        other = sum(one.unread == "other" for one in answered)
        return [Figure(name="other", value=other, better="lower", n=len(answered))]


def test_only_who_is_examined_is_laid_beside_the_compared(tmp_path: Path) -> None:
    finished(tmp_path, three())
    suites: dict[str, Suite] = {**SUITES, "births": Alike()}
    found = [each.suites[0].figures[0].value for each in results_of(tmp_path, suites).parties]
    assert found == [3, 0, 0]  # one of four is told by both


def test_without_anybody_compared_nothing_is_laid_beside(tmp_path: Path) -> None:
    finished(tmp_path, [contestant(Scripted("lethe", forgot))])
    [only] = results_of(tmp_path, {**SUITES, "births": Alike()}).parties
    assert only.suites[0].figures[0].value == 0


def test_without_a_reference_what_needs_one_is_left_out(tmp_path: Path) -> None:
    finished(tmp_path, [contestant(Scripted("lethe", forgot))])
    [only] = results_of(tmp_path, SUITES).parties
    assert [figure.name for figure in only.suites[0].figures] == ["told"]


def test_a_run_that_was_stopped_has_results_of_what_there_is(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        finished(tmp_path, [contestant(Scripted("lethe", forgot, limit=2)), *three()[1:]])
    lethe, stock, _ = results_of(tmp_path, SUITES).parties
    assert lethe.leaks[0].asked == 2
    assert (stock.leaks, stock.suites[0].figures, stock.suites[0].asked) == ((), (), 0)


def test_a_reference_that_has_not_answered_the_same_is_none(tmp_path: Path) -> None:
    stopped = Scripted("twin", never, limit=3)
    with pytest.raises(KeyboardInterrupt):
        finished(tmp_path, [*three()[:2], contestant(stopped, "never knew")])
    lethe, *_ = results_of(tmp_path, SUITES).parties
    assert [figure.name for figure in lethe.suites[0].figures] == ["told"]


def test_costs_are_over_requests() -> None:
    seconds = [0.1 * number for number in range(1, 11)]
    streamed = Ask(turns=("?",), stream=True)
    answers = [
        Answered(
            probe=Probe(id=str(number), group="g", ask=streamed),
            conversations=((Reply(text="x", tokens=7, seconds=one, first=one / 2),),),
        )
        for number, one in enumerate(seconds)
    ]
    cost = cost_of([*answers, answer(11, "said", error="broken"), answer(12, error="x")])
    every = [*seconds, 0.0]
    assert (cost.requests, cost.failed, cost.tokens) == (11, 2, 70)
    assert cost.seconds_p50 == pytest.approx(np.median(every))
    assert cost.seconds_p99 == pytest.approx(0.99)
    assert cost.first_p50 == pytest.approx(np.median(seconds) / 2)  # the joined one has no first
    assert cost.tokens_per_second == pytest.approx(70 / 5.5)


def test_where_tokens_are_not_counted_there_is_no_speed() -> None:
    cost = cost_of([answer(0, "x")])
    assert (cost.tokens_per_second, cost.first_p50) == (None, None)
    assert cost_of([]).seconds_p50 is None


def test_costs_are_compared_with_the_compared_or_else_the_one_that_never_knew(
    results: Results, tmp_path: Path
) -> None:
    assert results.baseline is results.parties[1]
    without = results.model_copy(update={"parties": results.parties[::2]})
    assert without.baseline is not None
    assert without.baseline.party.role == "never knew"
    assert results.model_copy(update={"parties": results.parties[:1]}).baseline is None


def test_results_come_back_from_json_as_they_were(results: Results, tmp_path: Path) -> None:
    write(tmp_path, results)
    text = (tmp_path / "results.json").read_text()
    assert Results.model_validate_json(text) == results
    assert '"schema_version": 1' in text


def test_the_same_answers_give_the_same_results(tmp_path: Path) -> None:
    finished(tmp_path, three())
    assert results_of(tmp_path, SUITES) == results_of(tmp_path, SUITES)
