"""A gateway over a scripted engine: real HTTP on both sides, everything in one event loop."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import cast

import openai
import pytest
from fastapi import FastAPI

from models.chat_prompt import PromptRenderer
from service.audit import AuditLog
from service.control.api import install_error_handlers
from service.control.keys import KeyRing
from service.control.replica import Replica
from service.gateway.data_plane import DataPlane
from service.gateway.parameters import Limits
from service.gateway.prepare import Preparer
from service.gateway.readiness import Readiness
from service.gateway.routes import add_data_routes
from service.gateway.schema import Schema
from service.gateway.source import Engine
from service.gateway.trust import EngineTrust
from service.gateway.upstream import Upstream
from service.gateway.upstream_body import Signer
from service.metrics import Metrics
from service.settings import Settings
from tests.service.gateway.stand_ins import (
    API_KEY,
    BOOT,
    KEY,
    MODEL,
    FakeEngine,
    Gateway,
    ToyAudit,
    ToyKeys,
    ToyReplica,
    ToyRules,
    running,
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
    await parts.upstream.open()
    parts.trust.passed(BOOT)
    replica, audit = ToyReplica(ToyRules(phrases={"Ada Vex": "sha256:" + "a" * 64})), ToyAudit()
    readiness = Readiness(parts.trust, cast("Replica", replica), cast("AuditLog", audit))
    settings = Settings(model=tiny_model, served_model_name=MODEL, max_model_len=256)
    rest = FastAPI(openapi_url=None)
    install_error_handlers(rest)
    keys = cast("KeyRing", ToyKeys())
    add_data_routes(rest, settings, keys, readiness)
    plane = DataPlane(
        rest=rest,
        engine=parts,
        schema=Schema(MODEL, replace(Limits(), max_model_len=256, vocabulary=renderer.vocabulary)),
        replica=cast("Replica", replica),
        keys=keys,
        audit=cast("AuditLog", audit),
        readiness=readiness,
        max_body_bytes=1 << 20,
        require_api_key=True,
        model=MODEL,
    )
    async with running(plane) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=API_KEY, max_retries=0)
        async with client:
            yield Gateway(url, engine, parts, replica, audit, readiness, client)
    await parts.upstream.close()
    server.close()
