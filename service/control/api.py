"""The admin plane: forget requests and API keys over REST."""

from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI

from service.audit import AuditLog
from service.control.keys import KeyRing
from service.control.replica import Replica
from service.settings import Settings

if TYPE_CHECKING:
    from service.store.store import Store


def admin_router(
    *,
    store: "Store",
    settings: Settings,
    keys: KeyRing,
    replica: Replica | None,
    audit: AuditLog,
) -> APIRouter:
    """``/v1/forget_requests`` and ``/v1/api_keys``.  Admin keys only.

    replica: this process's own, which is woken at once; None in a process that serves no data.
    """
    raise NotImplementedError


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of the app, FastAPI's own too, an answer in OpenAI's shape."""
    raise NotImplementedError
