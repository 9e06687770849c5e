"""The stack end to end: healthy it passes, and faults of different layers are found."""

from dataclasses import replace
from multiprocessing.context import ForkServerContext
from pathlib import Path

import pytest

from evals.enforcement.verdicts import Verdict, verdicts
from evals.faults.ground import knowledge, put_artifacts, roles
from evals.faults.registry import faults
from evals.faults.stack import nursery
from evals.faults.trial import Ground, Trial
from evals.suites.enforcement import Enforcement
from models.local_engine import LocalEngine
from service.settings import Settings

ASKED = (
    *("chat |", "chat, streamed |", "completion |", "who: tool arguments", "written: look-alikes"),
    *("placed: system", "engine: unsigned", "asked at once", "forbidden: logprobs |"),
    *("bare engine", "revoked: ", "without a key", "written: zero width"),
    *("banned words, begun", "who: escaped tool arguments"),
)

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Ground:
    known = knowledge()
    who = roles(known)
    settings = Settings(data_dir=tmp_path_factory.mktemp("prepared"), engine="local")
    engine = LocalEngine.load(settings.model)
    artifacts = put_artifacts(settings.artifact_store(), engine, known, who)
    probes = [p for p in Enforcement(who).probes(known, seed=0) if p.id.startswith(ASKED)]
    return Ground(known, who, artifacts, settings.data_dir, probes)


@pytest.fixture(scope="module")
def context() -> ForkServerContext:
    return nursery()


def failed(
    ground: Ground, context: ForkServerContext, folder: Path, fault: str | None
) -> list[Verdict]:
    chosen = faults()[fault] if fault else None
    trial = Trial(ground, context, folder, chosen, stops_early=fault is not None)
    answered = trial.run()
    if fault is None:
        assert {p.id for p in ground.probes} <= {one.probe.id for one in answered}
    return [verdict for verdict in verdicts(answered) if not verdict.passed]


def test_a_healthy_installation_passes(
    ground: Ground, context: ForkServerContext, tmp_path: Path
) -> None:
    assert failed(ground, context, tmp_path, None) == []


@pytest.mark.parametrize(
    ("fault", "check"),
    [
        ("strength-without-scale", "chat"),
        ("arguments-unfiltered", "who: tool arguments"),
        ("no-confusables", "written: look-alikes"),
        ("zero-width-kept", "written: zero width, in rows"),
        ("one-segmentation-banned", "banned words, begun in the prompt"),
        ("nothing-decoded-in-answers", "who: escaped tool arguments"),
    ],
)
def test_a_planted_fault_is_found_where_it_is(
    ground: Ground, context: ForkServerContext, tmp_path: Path, fault: str, check: str
) -> None:
    one_door = replace(ground, probes=[p for p in ground.probes if not p.about.get("door")])
    wrong = failed(one_door, context, tmp_path, fault)
    assert check in {verdict.check for verdict in wrong}
    assert faults()[fault].LAYER in {verdict.layer for verdict in wrong}
