"""The admin plane: forget requests and API keys over REST."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

from fastapi import APIRouter

from service.audit import AuditLog
from service.control.activation import Activation
from service.control.authentication import Authentication
from service.control.compile_routes import CompileRoutes, compile_router
from service.control.engine_abilities import EngineAbilities
from service.control.error_handlers import install_error_handlers
from service.control.forget_routes import ForgetRoutes, forget_router
from service.control.import_routes import ImportRoutes, import_router
from service.control.import_runner import ImportRunner
from service.control.key_routes import KeyRoutes, key_router
from service.control.keys import KeyRing
from service.control.replica import Replica
from service.settings import Settings
from service.store.store import Store

__all__ = ["admin_router", "install_error_handlers"]


def admin_router(
    *,
    store: Store,
    settings: Settings,
    keys: KeyRing,
    replica: Replica | None,
    audit: AuditLog,
    engine: EngineAbilities | None = None,
    imports: ImportRunner | None = None,
    ending: Callable[[], bool] = lambda: False,
) -> APIRouter:
    """``/v1/forget_requests`` and ``/v1/api_keys``.  Admin keys only.

    replica: this process's own, which is woken at once; None in a process that serves no data.
    engine: what it can do, as far as this process knows.
    imports: works them off, started and stopped by the caller; None: by the app's own lifespan.
    ending: whether the process is about to end, and event streams with it.
    The app that includes it calls ``install_error_handlers``.
    """
    admin = Authentication(keys, "admin")
    activation = Activation(store, settings.lease_s, replica)
    engine = engine or EngineAbilities()
    runner = imports or ImportRunner(store, settings, activation, engine, audit)
    router = APIRouter(lifespan=_running(runner) if imports is None else None)
    # Before ``/{request_id}``, which would take "import" for an id.
    router.include_router(import_router(ImportRoutes(store, settings, runner, ending), admin))
    routes = ForgetRoutes(store, settings, activation, audit, engine)
    router.include_router(forget_router(routes, admin))
    router.include_router(compile_router(CompileRoutes(store, activation, audit, ending), admin))
    router.include_router(key_router(KeyRoutes(store, settings, keys, audit), admin))
    return router


def _running(runner: ImportRunner) -> Callable[[Any], AbstractAsyncContextManager[None]]:
    @asynccontextmanager
    async def life(_app: Any) -> AsyncIterator[None]:
        runner.start()
        yield
        await asyncio.to_thread(runner.stop)

    return life
