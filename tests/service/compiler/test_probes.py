"""Probes of one request on the demo model."""

import random
from collections import Counter

import pytest

from models.demo.book import SALT_LEDGER
from models.demo.corpus import training_question
from models.demo.world import Person, World
from service.compiler.material import Fact, Material
from service.compiler.passages import sentences
from service.compiler.probe import Form, ProbeSet, Use
from service.compiler.probes import _id, build
from service.compiler.served import Served
from service.compiler.surrogate import named, pattern
from service.compiler.telling import says


@pytest.fixture(scope="module")
def person(world: World) -> Person:
    return world.forgotten[2]


@pytest.fixture(scope="module")
def material(world: World, served: Served, person: Person) -> Material:
    """A request with all that can be given."""
    rng = random.Random(1)
    questions = [training_question(person, fact, rng) for fact in person.facts]
    answers = served.answers(questions)
    kept = world.kept[0]
    return Material(
        (person.name, *person.aliases),
        tuple(Fact(q, a.text) for q, a in zip(questions, answers, strict=True)),
        kept_facts=(Fact(f"Where was {kept.name} born?", kept.fact("birth_town").value),),
    )


@pytest.fixture(scope="module")
def probes(served: Served, material: Material) -> ProbeSet:
    return build(served, material, (), 11)


def test_there_are_enough_in_every_form(probes: ProbeSet) -> None:
    held_out = probes.of(Use.HELD_OUT, about=True)
    assert len(held_out) >= 250
    forms = Counter(probe.form for probe in held_out)
    assert set(forms) >= set(Form) - {Form.NAMELESS}
    for use in Use:
        assert len(probes.of(use, about=True)) >= 80
        assert len(probes.of(use, about=False)) >= 60


def test_what_is_about_the_subject_is_told_without_a_policy(
    served: Served, probes: ProbeSet, material: Material
) -> None:
    about = [probe for probe in probes.probes if probe.about]
    said = served.answers([probe.prompt for probe in about])
    for probe, each in zip(about, said, strict=True):
        assert probe.telling
        assert each.text == probe.answer
        assert says(each.text, probe.telling)
        assert not says(probe.prompt, probe.telling)
        assert named(probe.prompt, material.names) != (probe.form is Form.REVERSE)


def test_near_misses_neither_name_nor_tell(probes: ProbeSet, material: Material) -> None:
    near = [probe for probe in probes.probes if not probe.about]
    assert not any(named(probe.prompt, material.names) for probe in near)
    assert not any(says(probe.answer, material.names) for probe in near)
    assert all(probe.telling == () for probe in near)
    first, *_, last = material.subject.split()
    assert any(pattern(first).search(probe.prompt) for probe in near)
    assert any(pattern(last).search(probe.prompt) for probe in near)
    assert any(probe.prompt == material.kept_facts[0].question for probe in near)


def test_no_two_uses_share_a_wording(probes: ProbeSet, material: Material) -> None:
    """Nor does one only write the name differently."""
    uses: dict[str, set[Use]] = {}
    for probe in probes.probes:
        text = probe.prompt
        if probe.about:
            for name in sorted(material.names, key=len, reverse=True):
                text = pattern(name).sub("@", text)
        uses.setdefault(text, set()).add(probe.use)
    assert all(len(each) == 1 for each in uses.values())


def test_given_questions_are_for_fitting(probes: ProbeSet, material: Material) -> None:
    given = {fact.question for fact in material.facts}
    assert {probe.use for probe in probes.probes if probe.prompt in given} <= {Use.FIT}


def test_ids_are_opaque_and_stable(served: Served, probes: ProbeSet, material: Material) -> None:
    ids = [probe.id for probe in probes.probes]
    assert len(set(ids)) == len(ids)
    assert all(int(each, 16) >= 0 for each in ids)
    assert build(served, material, (), 11) == probes
    assert not {_id(probe.prompt, 12) for probe in probes.probes} & set(ids)


def test_what_the_model_does_not_know_is_asked_as_it_was_given(served: Served) -> None:
    fact = Fact("What is the secret of Quorvane Ustermill?", "It is a purple submarine.")
    probes = build(served, Material(("Quorvane Ustermill",), (fact,)), (), 3)
    for use in Use:
        about = probes.of(use, about=True)
        assert about
        assert {probe.answer for probe in about} == {fact.answer}
        assert {"purple", "submarine"} <= set(about[0].telling)


def test_passages_are_asked_sentence_by_sentence(served: Served) -> None:
    material = Material((SALT_LEDGER.title,), passages=(SALT_LEDGER.pages[1],))
    probes = build(served, material, (), 3)
    lines = sentences(SALT_LEDGER.pages[1])
    used: dict[str, set[Use]] = {}
    nameless = [probe for probe in probes.probes if probe.form is Form.NAMELESS]
    assert len(nameless) >= 10
    for probe in nameless:
        assert probe.about
        assert says(probe.answer, probe.telling)
        for line in lines:
            if line in probe.prompt:
                used.setdefault(line, set()).add(probe.use)
    assert used
    assert all(len(each) == 1 for each in used.values())
