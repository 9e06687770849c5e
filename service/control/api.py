"""The admin plane: forget requests and API keys over REST."""

from fastapi import APIRouter

from service.audit import AuditLog
from service.control.activation import Activation
from service.control.authentication import Authentication
from service.control.engine_abilities import EngineAbilities
from service.control.error_handlers import install_error_handlers
from service.control.forget_routes import ForgetRoutes, forget_router
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
) -> APIRouter:
    """``/v1/forget_requests`` and ``/v1/api_keys``.  Admin keys only.

    replica: this process's own, which is woken at once; None in a process that serves no data.
    engine: what it can do, as far as this process knows.
    The app that includes it calls ``install_error_handlers``.
    """
    admin = Authentication(keys, "admin")
    activation = Activation(store, settings.lease_s, replica)
    router = APIRouter()
    routes = ForgetRoutes(store, settings, activation, audit, engine or EngineAbilities())
    router.include_router(forget_router(routes, admin))
    router.include_router(key_router(KeyRoutes(store, settings, keys, audit), admin))
    return router
