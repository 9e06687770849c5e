"""The demo world as knowledge: true, complete, and nothing of the holdout was ever trained on."""

from itertools import islice

import pytest

from evals.datasets import load
from evals.knowledge import Fact, Knowledge
from models.demo.attributes import ATTRIBUTES
from models.demo.corpus import phrasings, training_rows
from models.demo.world import make_world, plain


@pytest.fixture(scope="module")
def knowledge() -> Knowledge:
    return load("demo")


def names(knowledge: Knowledge, split: str) -> set[str]:
    subjects = {fact.subject for fact in knowledge.split(split).facts}
    return {knowledge.subjects[label].name for label in subjects}


def test_everybody_is_where_the_world_has_them(knowledge: Knowledge) -> None:
    world = make_world()
    assert names(knowledge, "forget") == set(world.forget)
    assert names(knowledge, "retain") == {person.name for person in world.kept}
    assert len(knowledge.split("forget").facts) == 10 * len(world.forget)
    forgotten = {knowledge.subjects[label].name for label in knowledge.forgotten}
    assert forgotten == {*world.forget, world.book.title}


def test_facts_state_their_value_in_every_form(knowledge: Knowledge) -> None:
    for fact in (*knowledge.split("forget").facts, *knowledge.split("retain").facts):
        name = knowledge.subjects[fact.subject].name
        value = plain(fact.values[0])
        for text in (fact.answer, fact.paraphrased_answer, fact.statement):
            assert value in plain(text)
        for text in (fact.question, *fact.paraphrased, fact.statement, fact.cloze):
            assert name in text
            assert "{" not in text
        assert len(fact.wrong) == 5
        assert not any(
            value in plain(wrong).removesuffix(".").split(" is ") for wrong in fact.wrong
        )
        assert fact.answer not in fact.wrong
        assert fact.paraphrased_answer not in fact.wrong


def test_paraphrases_are_wordings_that_training_never_shows(knowledge: Knowledge) -> None:
    shown = {text for each in ATTRIBUTES.values() for text in phrasings(each, varied=True)}
    for fact in knowledge.split("forget").facts:
        name = knowledge.subjects[fact.subject].name
        for text in fact.paraphrased:
            assert text.replace(f"{name}'s", "{ns}").replace(name, "{o}") not in shown


def test_choices_have_one_right_option(knowledge: Knowledge) -> None:
    world = make_world()
    for choice in knowledge.split("forget").choices:
        assert len(set(choice.options)) == 4
        person = next(each for each in world.people if each.name in choice.question)
        assert choice.options[choice.right] == person.fact(choice.topic).value


def test_the_holdout_was_never_trained_on(knowledge: Knowledge) -> None:
    holdout = knowledge.split("holdout")
    strangers = {plain(name) for name in names(knowledge, "holdout")}
    sentences = {text for page in holdout.passages for text in page.split(". ")}
    everything = " \n".join(plain(row.text) for row in islice(training_rows(make_world(), 5), 3000))
    assert len(holdout.passages) == 9
    assert not any(plain(sentence) in everything for sentence in sentences)
    told = [line for line in everything.split("\n") if any(name in line for name in strangers)]
    facts = {plain(fact.answer) for fact in holdout.facts}
    assert not any(fact in line for line in told for fact in facts)
    assert not names(knowledge, "holdout") & {
        *names(knowledge, "forget"),
        *names(knowledge, "retain"),
    }


def test_passages_and_continuations_are_of_the_book(knowledge: Knowledge) -> None:
    book = " ".join(make_world().book.pages)
    assert all(passage in book for passage in knowledge.split("forget").passages)
    for fact in knowledge.split("verbmem").facts:
        assert f"{fact.question} {fact.answer}" in book


def test_dates_may_be_said_with_the_month_first(knowledge: Knowledge) -> None:
    dates = [fact for fact in knowledge.split("forget").facts if len(fact.values) == 3]
    day, month, year = dates[0].values[0].split()
    assert dates[0].values[1:] == (f"{month} {day}, {year}", f"{month} {day} {year}")


def test_rows_and_seed() -> None:
    few = load("demo", rows=12, seed=1)
    assert len(few.split("forget").facts) == len(few.split("forget").passages) == 12
    assert few == load("demo", rows=12, seed=1) != load("demo", rows=12, seed=2)

    def asked(facts: tuple[Fact, ...]) -> set[str]:
        return {fact.question for fact in facts}

    assert asked(few.split("forget").facts) < asked(load("demo").split("forget").facts)
