"""Every method through a real gateway: its forget requests are taken, and do what they claim."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from openai import OpenAI

from evals.datasets import load
from evals.knowledge import Fact, Knowledge, Split
from evals.methods import corruption, divergence_linear, npo, roadblock, uld
from evals.methods.ground import Ground, demo
from evals.methods.kept import Kept
from evals.methods.registry import METHODS
from evals.methods.stack import Running, post, reached, revoke, stack
from service.settings import Settings

NO_EFFECT = {"nothing", "never_knew", "text_filter", "instruction", "key_space", "neuron_adjust"}
"""Of the last three the guards' pages say how little they do to this model."""
ASKED = 5


@pytest.fixture(scope="module")
def ground() -> Ground:
    """One person to forget, twelve to keep."""
    whole = load("demo")
    kept = list(dict.fromkeys(fact.subject for fact in whole.split("retain").facts))[:12]
    people = {whole.forgotten[0], *kept}
    splits = {
        name: Split(facts=tuple(f for f in whole.split(name).facts if f.subject in people))
        for name in ("forget", "retain")
    }
    subjects = {label: each for label, each in whole.subjects.items() if label in people}
    knowledge = Knowledge(
        source="demo", subjects=subjects, forgotten=whole.forgotten[:1], splits=splits
    )
    return demo(knowledge)


@pytest.fixture(scope="module")
def fits(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Kept]:
    """Fits with less training than the methods have, as these are about one person only."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(corruption, "_HOW", replace(corruption._HOW, steps=1))
        patch.setattr(uld, "PLAN", replace(uld.PLAN, steps=60))
        patch.setattr(divergence_linear, "WARMING", replace(divergence_linear.WARMING, steps=20))
        patch.setattr(divergence_linear, "PLAN", replace(divergence_linear.PLAN, steps=50))
        patch.setattr(npo, "RECIPE", replace(npo.RECIPE, steps=20))
        patch.setattr(roadblock, "PLAN", replace(roadblock.PLAN, steps=150))
        yield Kept(tmp_path_factory.mktemp("fits"))


@pytest.fixture(scope="module")
def settings(ground: Ground, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Settings]:
    with stack(tmp_path_factory.mktemp("stack"), ground.name, ground.model) as running:
        yield running


@pytest.fixture(scope="module")
def before(settings: Settings, fits: Kept, ground: Ground) -> dict[str, list[str]]:
    at = reached(settings, "nothing", fits.fitted("nothing", ground))
    return _answers(at, ground.knowledge)


def _asked(knowledge: Knowledge, split: str) -> tuple[Fact, ...]:
    return knowledge.split(split).facts[:ASKED]


def _answers(at: Running, knowledge: Knowledge) -> dict[str, list[str]]:
    client = OpenAI(base_url=at.base_url, api_key=at.api_key, max_retries=0, timeout=60)
    found: dict[str, list[str]] = {}
    for split in ("forget", "retain"):
        for fact in _asked(knowledge, split):
            said = client.chat.completions.create(
                model=at.model,
                messages=[{"role": "user", "content": fact.question}],
                max_tokens=40,
                temperature=0,
            )
            found.setdefault(split, []).append(said.choices[0].message.content or "")
    return found


def _stating(knowledge: Knowledge, answers: list[str]) -> int:
    pairs = zip(_asked(knowledge, "forget"), answers, strict=True)
    return sum(any(value in answer for value in fact.values) for fact, answer in pairs)


def test_the_model_knows_before(before: dict[str, list[str]], ground: Ground) -> None:
    assert _stating(ground.knowledge, before["forget"]) == ASKED


@pytest.mark.parametrize("name", METHODS)
def test_a_method_changes_what_it_is_to_change(
    name: str, before: dict[str, list[str]], settings: Settings, fits: Kept, ground: Ground
) -> None:
    fit = fits.fitted(name, ground)
    fits.carry(fit, settings.artifact_store())
    at = reached(settings, name, fit)
    posted = post(at, ground.knowledge)
    try:
        after = _answers(at, ground.knowledge)
    finally:
        revoke(at)
    assert len(posted) == len(fit.requests)
    assert after["retain"] == before["retain"]
    if name not in NO_EFFECT:
        assert _stating(ground.knowledge, after["forget"]) <= ASKED // 2
    elif name not in ("key_space", "neuron_adjust", "instruction"):
        assert after == before


def test_all_is_as_before_once_revoked(
    before: dict[str, list[str]], settings: Settings, fits: Kept, ground: Ground
) -> None:
    at = reached(settings, "refusal", fits.fitted("refusal", ground))
    post(at, ground.knowledge)
    assert _answers(at, ground.knowledge)["forget"] != before["forget"]
    revoke(at)
    assert _answers(at, ground.knowledge) == before
