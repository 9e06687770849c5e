"""Builds the gateway: everything that it is made of, in one function."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import FastAPI

from models.chat_prompt import PromptRenderer
from models.encoder import Encoder
from service.audit import AuditLog, open_audit
from service.control.activation import Activation
from service.control.api import admin_router, install_error_handlers
from service.control.artifact_check import ArtifactCheck
from service.control.authentication import Authentication
from service.control.engine_abilities import EngineAbilities
from service.control.import_runner import ImportRunner
from service.control.keys import KeyRing, ensure_bootstrap_keys
from service.control.loader import Prepare
from service.control.replica import Replica, rules_builder
from service.gateway.agents import Agents, EngineAgents, RemoteAgents
from service.gateway.canary import Canary
from service.gateway.data_plane import DataPlane
from service.gateway.parameters import Limits
from service.gateway.preload import Preloader
from service.gateway.prepare import Preparer
from service.gateway.readiness import Readiness
from service.gateway.report import Reporter, counted_rules
from service.gateway.rewriting import Rewriter
from service.gateway.routes import add_admin_routes, add_data_routes
from service.gateway.schema import Schema
from service.gateway.score import ScoreRoute, score_router
from service.gateway.source import Engine
from service.gateway.timed_changes import TimedChanges
from service.gateway.trust import EngineTrust
from service.gateway.upstream import Upstream
from service.gateway.upstream_body import Signer
from service.metrics import Metrics
from service.settings import Settings
from service.store.store import Store, open_store

STORE_PATIENCE_S = 60.0  # a gateway that starts while the database restarts waits for it


@dataclass(frozen=True)
class Apps:
    """Two ASGI apps.  The data plane's lifespan starts and stops everything that both use."""

    data: DataPlane
    admin: FastAPI
    readiness: Readiness


def create_apps(settings: Settings) -> Apps:
    """Raises StoreUnavailable, OSError or ValueError where the gateway cannot be made."""
    store = open_store(settings, patience_s=STORE_PATIENCE_S)
    ensure_bootstrap_keys(store, settings.data_dir)
    keys = KeyRing(store, settings.pepper())
    audit = open_audit(settings)
    abilities = EngineAbilities()
    renderer = PromptRenderer(settings.model)
    engine = _engine(settings, renderer)
    metrics = engine.metrics
    replica = Replica(
        store,
        settings,
        lambda: Encoder.load(settings.encoder_folder),
        keys=keys,
        build=counted_rules(metrics, rules_builder(settings)),
        engine=abilities,
        prepare=_prepare(settings),
    )
    readiness = Readiness(engine.trust, replica, audit)
    reporter = Reporter(metrics, replica, readiness, store.census, store.count_jobs)
    activation = Activation(store, settings.lease_s, replica)
    imports = ImportRunner(store, settings, activation, abilities, audit)
    parts = _Parts(settings, store, audit, replica, engine, renderer, abilities, reporter, imports)
    rest = FastAPI(lifespan=parts.lifespan, openapi_url=None)
    admin = FastAPI(openapi_url=None)
    for app in (rest, admin):
        install_error_handlers(app)
    add_data_routes(rest, settings, keys, readiness)
    add_admin_routes(admin, metrics)
    admin.add_middleware(TimedChanges, metrics=metrics)
    admin.include_router(
        admin_router(
            store=store,
            settings=settings,
            keys=keys,
            replica=replica,
            audit=audit,
            engine=abilities,
            imports=imports,
            ending=lambda: readiness.draining,
        )
    )
    schema = Schema(settings.served_model_name, _limits(settings, renderer))
    score = ScoreRoute(engine, schema, replica, readiness, audit, settings)
    admin.include_router(score_router(score, Authentication(keys, "admin")))
    data = DataPlane(
        rest=rest,
        engine=engine,
        schema=schema,
        replica=replica,
        keys=keys,
        audit=audit,
        readiness=readiness,
        max_body_bytes=settings.max_body_bytes,
        require_api_key=settings.require_api_key,
        model=settings.served_model_name,
        stream_grace_s=settings.stream_grace_s,
    )
    return Apps(data, admin, readiness)


@dataclass(frozen=True)
class _Parts:
    """What must be started and stopped."""

    settings: Settings
    store: Store
    audit: AuditLog
    replica: Replica
    engine: Engine
    renderer: PromptRenderer
    abilities: EngineAbilities
    reporter: Reporter
    imports: ImportRunner

    @asynccontextmanager
    async def lifespan(self, _: FastAPI) -> AsyncIterator[None]:
        """Follow the store, watch the engine; in the end stop both, and write the audit down."""
        await self.engine.upstream.open()
        if self.engine.rewriter is not None:
            self.engine.rewriter.agents.open()
        self.replica.start()
        self.imports.start()
        tasks = [
            asyncio.create_task(self._canary().watch(self.settings.canary_interval_s)),
            asyncio.create_task(self.reporter.watch()),
        ]
        try:
            yield
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await asyncio.to_thread(self.imports.stop)
            await asyncio.to_thread(self.replica.stop)
            if self.engine.rewriter is not None:
                await self.engine.rewriter.agents.close()
            await self.engine.upstream.close()
            await asyncio.to_thread(self.audit.close)
            self.store.close()

    def _canary(self) -> Canary:
        ordinary = set(range(self.renderer.vocabulary)) - self.renderer.control_ids
        return Canary(
            upstream=self.engine.upstream,
            signer=self.engine.signer,
            artifacts=self.settings.artifact_store(),
            trust=self.engine.trust,
            metrics=self.engine.metrics,
            ids=tuple(sorted(ordinary)),
            engine=self.abilities,
        )


def _prepare(settings: Settings) -> tuple[Prepare, ...]:
    """What an epoch has to pass before this process is ready for it."""
    artifacts = settings.artifact_store()
    artifacts.forget_copies()
    preload = Preloader(
        settings.engine_url, settings.engine_key(), artifacts, wait_s=settings.lease_s / 2
    )
    return ArtifactCheck(artifacts), preload


def _engine(settings: Settings, renderer: PromptRenderer) -> Engine:
    metrics, key = Metrics(), settings.engine_key()
    upstream = Upstream(settings.engine_url, key, settings.upstream_timeout_s)
    signer = Signer(key, settings.served_model_name)
    trust = EngineTrust(settings.canary_interval_s)
    agents: Agents = EngineAgents(upstream, signer, trust, renderer, settings.max_model_len)
    if settings.rewrite_url:
        name, secret = settings.rewrite_model, settings.rewrite_key()
        agents = RemoteAgents(settings.rewrite_url, name, secret)
    limits = settings.rewrite_timeout_s, settings.rewrite_max_calls
    return Engine(
        upstream=upstream,
        signer=signer,
        trust=trust,
        preparer=Preparer(renderer, metrics, settings.served_model_name, settings.max_model_len),
        metrics=metrics,
        opening=settings.opening_chars,
        rewriter=Rewriter(agents, metrics, key, *limits),
    )


def _limits(settings: Settings, renderer: PromptRenderer) -> Limits:
    return Limits(
        max_choices=settings.max_choices,
        max_prompts=settings.max_prompts,
        max_model_len=settings.max_model_len,
        vocabulary=renderer.vocabulary,
        control_ids=renderer.control_ids,
    )
