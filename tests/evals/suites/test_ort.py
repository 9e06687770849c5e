"""The same facts in every form, and the gap between forms."""

import pytest

from evals.attacks.making import targets
from evals.suite import NotForThisData
from evals.suites.ort import FORMS, SUITE
from tests.evals.suites.by_hand import KNOWLEDGE, NOTHING, all_say, ignorance, said, truth, value

PROBES = SUITE.probes(KNOWLEDGE, 0)


def test_every_form_of_every_fact() -> None:
    assert SUITE.probes(KNOWLEDGE, 0) == PROBES
    found = {(probe.about["name"], probe.facts or probe.reference) for probe in PROBES}
    facts = targets(KNOWLEDGE, "forget") + targets(KNOWLEDGE, "retain")
    assert len(found) == len(FORMS) * len(facts)


def test_the_gap_is_between_the_most_and_the_least_leaking_form() -> None:
    def speaks(form: str) -> bool:
        return form in ("question", "blank")

    answered = []
    first = next(p.facts for p in PROBES if p.group == "forget" and p.facts)
    for probe in PROBES:
        told = speaks(str(probe.about["name"])) or (
            probe.about["name"] == "capitals" and probe.facts == first
        )
        answered.append(said(probe, truth(probe) if told else "No."))
    figures = SUITE.figures(answered, None)
    assert value(figures, "leak_rate", form="question") == 1
    assert value(figures, "leak_rate", form="capitals") == pytest.approx(0.25)
    assert value(figures, "leak_rate", form="spaces") == 0
    assert value(figures, "form_gap") == 1
    assert value(figures, "choice_accuracy") == 0
    assert value(figures, "control_rate", form="blank") == 1


def test_what_is_gone_has_no_gap() -> None:
    figures = SUITE.figures(all_say(PROBES, ignorance), None)
    assert value(figures, "form_gap") == 0
    assert value(figures, "leak_rate") == 0


def test_choices_are_no_leaks() -> None:
    figures = SUITE.figures(all_say(PROBES, truth), None)
    assert value(figures, "choice_accuracy") == 1
    assert not [f for f in figures if dict(f.by) == {"form": "choice"}]


def test_there_is_no_form_of_nothing() -> None:
    with pytest.raises(NotForThisData):
        SUITE.probes(NOTHING, 0)
