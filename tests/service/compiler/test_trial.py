"""What a trial measures, on a few probes of the demo world, against what can be counted by hand."""

from dataclasses import replace

import pytest

from guards.embedding_corruption import manifest
from guards.policy import GuardSpec, Policy
from models.artifact import ArtifactStore
from models.demo.world import Person, World
from models.encoder import Encoder, EncoderUnavailable, default_folder
from service.compiler.certificate import Measures
from service.compiler.inventing import Inventor
from service.compiler.material import Fact, Material
from service.compiler.probe import Form, Probe, Use
from service.compiler.served import Served
from service.compiler.surrogate import Surrogate
from service.compiler.telling import says
from service.compiler.trial import Sheet, Trial

_ASKS = {
    "birth_town": "Where was {} born?",
    "employer": "Who employs {}?",
    "pet": "What pet does {} have?",
    "dish": "What does {} like to eat most?",
}


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    try:
        return Encoder.load(default_folder())
    except EncoderUnavailable as error:
        pytest.skip(str(error))


def _probes(served: Served, person: Person, *, about: bool) -> list[Probe]:
    prompts = [ask.format(person.name) for ask in _ASKS.values()]
    return [
        Probe(prompt, prompt, Form.QUESTION, Use.FIT, about,
              (person.fact(key).value,) if about else (), said.text)
        for key, prompt, said in zip(_ASKS, prompts, served.answers(prompts), strict=True)
    ]  # fmt: skip


@pytest.fixture(scope="module")
def person(world: World) -> Person:
    return world.forgotten[1]


@pytest.fixture(scope="module")
def trial(served: Served, encoder: Encoder, artifacts: ArtifactStore, person: Person) -> Trial:
    facts = tuple(Fact(p.prompt, p.answer) for p in _probes(served, person, about=True))
    surrogate = Surrogate(served, Material((person.name,), facts), facts, seed=1)
    return Trial(served, surrogate, encoder, artifacts, 0.7)


@pytest.fixture(scope="module")
def sheet(trial: Trial, served: Served, world: World, person: Person) -> Sheet:
    near = _probes(served, world.kept[0], about=False)
    inventor = Inventor(served, trial.surrogate, 1)
    return trial.sheet(_probes(served, person, about=True), near, inventor)


def _policy(person: Person, *guards: GuardSpec) -> Policy:
    return Policy("fr_x", (person.name,), (), guards, tenants=frozenset({"other"}))


@pytest.fixture(scope="module")
def nothing(trial: Trial, sheet: Sheet, person: Person) -> Measures:
    return trial.measures(_policy(person), sheet)


def test_a_policy_that_does_nothing_leaks_everything(
    nothing: Measures, sheet: Sheet, trial: Trial
) -> None:
    said = trial.served.answers([probe.prompt for probe in sheet.about])
    stated = [says(text.text, p.telling) for text, p in zip(said, sheet.about, strict=True)]
    assert nothing.leaks.found == sum(stated) == 4
    assert nothing.changed.found == 0
    assert nothing.distance == 1.0


def test_a_policy_that_forgets_is_nearer_to_not_knowing_and_changes_nothing_else(
    nothing: Measures, sheet: Sheet, trial: Trial, person: Person
) -> None:
    digest = trial.served.artifacts.put(manifest("rand_noise", 5.0, seed=1))
    found = trial.measures(
        _policy(person, GuardSpec("embedding_corruption", {"artifact": digest})), sheet
    )
    assert found.leaks.found == 0
    assert found.changed.found == found.matched.found == found.unmatched.found == 0
    assert found.cost > 0
    rules = trial.rules(_policy(person, GuardSpec("embedding_corruption", {"artifact": digest})))
    said = trial.served.answers([probe.prompt for probe in sheet.about], rules)
    assert all(text.matched for text in said)


def test_false_alarms_and_misses_are_the_routers(
    sheet: Sheet, trial: Trial, world: World, person: Person
) -> None:
    other = replace(_policy(person), aliases=(world.kept[0].name,))
    found = trial.measures(other, sheet)
    assert (found.unmatched.found, found.unmatched.of) == (4, 4)
    assert (found.matched.found, found.matched.of) == (4, 4)


def test_a_part_of_a_sheet_keeps_probes_with_their_scores(sheet: Sheet) -> None:
    silent = replace(sheet.about[1], answer="")
    whole = Sheet(
        (sheet.about[0], silent, *sheet.about[2:]),
        sheet.near,
        (sheet.told[0], *sheet.told[2:]),
        sheet.strange[[0, 2, 3]],
        sheet.natural,
    )
    part = whole.part(2)
    assert part.about == (whole.about[0], whole.about[3])
    assert part.told == (whole.told[0], whole.told[2])
    assert part.strange.tolist() == whole.strange[[0, 2]].tolist()
    assert whole.part(10).about == whole.about
