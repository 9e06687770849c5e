"""A gateway over a scripted engine: real HTTP on both sides, everything in one event loop."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from models.chat_prompt import PromptRenderer
from service.gateway.prepare import Preparer
from service.gateway.source import Engine
from service.gateway.trust import EngineTrust
from service.gateway.upstream import Upstream
from service.gateway.upstream_body import Signer
from service.metrics import Metrics
from service.settings import Settings
from tests.service.gateway.serving import serving
from tests.service.gateway.stand_ins import (
    BOOT,
    KEY,
    MODEL,
    FakeEngine,
    Gateway,
    ToyRules,
    scripted,
)


@pytest.fixture(scope="session")
def renderer(tiny_model: Path) -> PromptRenderer:
    """Of the tiny model."""
    return PromptRenderer(tiny_model)


@pytest.fixture
async def gateway(renderer: PromptRenderer, tiny_model: Path) -> AsyncIterator[Gateway]:
    """A gateway over an engine that says "Hello there.", with one phrase protected: Ada Vex."""
    engine = FakeEngine(scripted(lambda _: [{"content": ["Hello", " there."]}]))
    server = await asyncio.start_server(engine.serve, "127.0.0.1", 0)
    engine.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    metrics = Metrics()
    parts = Engine(
        upstream=Upstream(engine.url, KEY, 3.0),
        signer=Signer(KEY, MODEL),
        trust=EngineTrust(30.0),
        preparer=Preparer(renderer, metrics, MODEL, 256),
        metrics=metrics,
    )
    parts.trust.passed(BOOT)
    settings = Settings(model=tiny_model, served_model_name=MODEL, max_model_len=256)
    rules = ToyRules(phrases={"Ada Vex": "sha256:" + "a" * 64})
    async with serving(parts, settings, rules, engine) as found:
        yield found
    server.close()
