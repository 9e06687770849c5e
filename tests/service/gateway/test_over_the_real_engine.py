"""Guards of the gateway over the real in-process engine and the demo model."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from guards.agent_rewrite import DEFAULT
from guards.embedding_corruption import manifest
from guards.policy import GuardSpec
from models.chat_prompt import PromptRenderer
from models.demo.world import Person, make_world
from service.control.engine_abilities import EngineAbilities
from service.gateway.agents import EngineAgents
from service.gateway.canary import Canary
from service.gateway.prepare import Preparer
from service.gateway.rewriting import Rewriter
from service.gateway.source import Engine
from service.gateway.trust import EngineTrust
from service.gateway.upstream import Upstream
from service.gateway.upstream_body import Signer
from service.local.app import create_app
from service.metrics import Metrics
from service.settings import Settings
from tests.service.gateway.serving import serving
from tests.service.gateway.stand_ins import (
    MODEL,
    FakeEngine,
    Gateway,
    ToyRules,
    joined,
    rules_of,
    running,
    streamed,
)

Json = Any
WAYS = pytest.mark.parametrize("way", [joined, streamed])


@pytest.fixture(scope="module")
def person() -> Person:
    return make_world().forgotten[0]


@pytest.fixture(scope="module")
def local_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return Settings(data_dir=tmp_path_factory.mktemp("lethe"), served_model_name=MODEL)


@pytest.fixture(scope="module")
def local_engine(local_settings: Settings) -> Any:
    return create_app(local_settings)


@pytest.fixture
async def real(local_settings: Settings, local_engine: Any) -> AsyncIterator[Gateway]:
    """A gateway over the in-process engine, once its canary has passed."""
    async with running(local_engine) as url:
        parts = _parts(local_settings, url)
        async with serving(parts, local_settings, ToyRules(), FakeEngine(_nobody)) as gateway:
            abilities = EngineAbilities()
            assert await _canary(parts, local_settings, abilities).look() is None
            assert abilities.known is not None
            assert "embedding" in abilities.known.points
            assert abilities.known.runner == "local"
            yield gateway


async def _nobody(*_: Any) -> None:
    pytest.fail("the stand-in is not asked")


def _parts(settings: Settings, url: str) -> Engine:
    key, metrics = settings.engine_key(), Metrics()
    renderer = PromptRenderer(settings.model)
    upstream, signer, trust = Upstream(url, key, 60.0), Signer(key, MODEL), EngineTrust(30.0)
    agents = EngineAgents(upstream, signer, trust, renderer, settings.max_model_len)
    return Engine(
        upstream=upstream,
        signer=signer,
        trust=trust,
        preparer=Preparer(renderer, metrics, MODEL, settings.max_model_len),
        metrics=metrics,
        opening=settings.opening_chars,
        rewriter=Rewriter(agents, metrics, key, 60.0, 32),
    )


def _canary(parts: Engine, settings: Settings, abilities: EngineAbilities) -> Canary:
    ids, artifacts = tuple(range(100, 1_000)), settings.artifact_store()
    return Canary(
        parts.upstream, parts.signer, artifacts, parts.trust, parts.metrics, ids, abilities
    )


def about(person: Person) -> Json:
    return [{"role": "user", "content": f"Where was {person.name} born?"}]


async def asked(gateway: Gateway, way: Any, person: Person) -> str:
    texts, *_ = await way(gateway, about(person), max_tokens=32, temperature=0)
    return str(texts[0])


@WAYS
async def test_refusal(real: Gateway, person: Person, way: Any) -> None:
    assert person.fact("birth_town").stated_in(await asked(real, way, person))
    real.replica.current = rules_of(GuardSpec("refusal", {"text": "No."}), names=(person.name,))
    assert await asked(real, way, person) == "No."


async def test_an_instructed_prompt_runs_as_it_was_signed(
    real: Gateway, person: Person, local_settings: Settings
) -> None:
    """The engine refuses any prompt but the signed one; with edits, positions lie in it."""
    corruption = local_settings.artifact_store().put(manifest("zero_out", 1.0))
    edit = GuardSpec("embedding_corruption", {"artifact": corruption})
    for guards in ((), (edit,)):
        instruction = GuardSpec("in_context_instruction")
        real.replica.current = rules_of(instruction, *guards, names=(person.name,))
        texts = [await asked(real, way, person) for way in (joined, streamed)]
        assert texts[0] == texts[1]
        assert person.name not in texts[0]
    assert not person.fact("birth_town").stated_in(texts[0])
    done = await real.audited(4)
    assert {entry.outcome for entry in done} == {"completed"}


async def test_agents_that_the_model_cannot_play_leave_the_fallback(
    real: Gateway, person: Person
) -> None:
    """The demo model knows nothing of grading: what it says is no rating, so nothing leaves."""
    real.replica.current = rules_of(GuardSpec("agent_rewrite"), names=(person.name,))
    texts = [await asked(real, way, person) for way in (joined, streamed)]
    assert texts == [DEFAULT] * 2
    rewrites = real.parts.metrics.rewrites
    assert rewrites.labels("composed")._value.get() == 0
    poor, failed = (rewrites.labels(name)._value.get() for name in ("poor", "failed"))
    assert poor + failed == 2
