"""A gateway made of given parts, without a store: under uvicorn, with the official client."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import cast

import openai
from fastapi import FastAPI

from guards.rules import Rules
from service.audit import AuditLog
from service.control.api import install_error_handlers
from service.control.keys import KeyRing
from service.control.replica import Replica
from service.gateway.data_plane import DataPlane
from service.gateway.parameters import Limits
from service.gateway.readiness import Readiness
from service.gateway.routes import add_data_routes
from service.gateway.schema import Schema
from service.gateway.source import Engine
from service.settings import Settings
from tests.service.gateway.stand_ins import (
    API_KEY,
    MODEL,
    FakeEngine,
    Gateway,
    ToyAudit,
    ToyKeys,
    ToyReplica,
    ToyRules,
    running,
)


@asynccontextmanager
async def serving(
    parts: Engine, settings: Settings, rules: ToyRules | Rules, engine: FakeEngine
) -> AsyncIterator[Gateway]:
    """A gateway made of these parts."""
    renderer, most = parts.preparer.renderer, settings.max_model_len
    replica, audit = ToyReplica(rules), ToyAudit()
    readiness = Readiness(parts.trust, cast("Replica", replica), cast("AuditLog", audit))
    rest = FastAPI(openapi_url=None)
    install_error_handlers(rest)
    keys = cast("KeyRing", ToyKeys())
    add_data_routes(rest, settings, keys, readiness)
    limits = replace(Limits(), max_model_len=most, vocabulary=renderer.vocabulary)
    plane = DataPlane(
        rest=rest,
        engine=parts,
        schema=Schema(MODEL, limits),
        replica=cast("Replica", replica),
        keys=keys,
        audit=cast("AuditLog", audit),
        readiness=readiness,
        max_body_bytes=1 << 20,
        require_api_key=True,
        model=MODEL,
        stream_grace_s=0.1,
    )
    await parts.upstream.open()
    async with running(plane) as url:
        client = openai.AsyncOpenAI(base_url=f"{url}/v1", api_key=API_KEY, max_retries=0)
        async with client:
            yield Gateway(url, engine, parts, replica, audit, readiness, client)
    await parts.upstream.close()
