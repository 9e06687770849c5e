"""A gateway process in small: the real admin plane and a real replica, over trivial rules.

Run as a program it reads lines ``DATA_DIR DATABASE_URL PORT LEASE_S``, forks a process for each
(importing everything only once) and prints its process id.

``GET /enforced?text=`` answers 503 while fenced, else whether an active policy names the text.
"""

import os
import signal
import sys
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import uvicorn
from fastapi import FastAPI

from service.audit import AuditLog
from service.control.api import admin_router, install_error_handlers
from service.control.keys import KeyRing, ensure_bootstrap_keys
from service.control.replica import Replica, ReplicaFenced
from service.errors import unavailable
from service.settings import Settings
from service.store.store import Store, open_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from guards.policy import Epoch
    from guards.rules import Rules


@dataclass(frozen=True)
class PlainRules:
    """Rules by the slow, obvious method: is an alias in the text?"""

    listed: "Epoch"
    fragmented: bool = False

    def touches(self, text: str) -> bool:
        return any(alias in text for policy in self.listed.policies for alias in policy.aliases)


def build_plainly(epoch: "Epoch", _encoder: Any, _previous: Any) -> "Rules":
    return cast("Rules", PlainRules(epoch))


def plain(replica: Replica) -> PlainRules:
    """What the replica serves now.  Raises ReplicaFenced."""
    return cast("PlainRules", replica.rules)


def create_app(settings: Settings, store: Store) -> FastAPI:
    keys = KeyRing(store, settings.pepper())
    replica = Replica(store, settings, cast("Any", object), keys=keys, build=build_plainly)
    audit = AuditLog(settings.audit_path)

    @asynccontextmanager
    async def life(_app: FastAPI) -> "AsyncIterator[None]":
        replica.start()
        yield
        replica.stop()
        audit.close()

    app = FastAPI(lifespan=life)
    app.include_router(
        admin_router(store=store, settings=settings, keys=keys, replica=replica, audit=audit)
    )
    install_error_handlers(app)

    @app.get("/enforced")
    async def enforced(text: str) -> bool:
        try:
            return plain(replica).touches(text)
        except ReplicaFenced as fenced:
            raise unavailable() from fenced

    return app


def serve(data_dir: str, url: str, port: str, lease_s: str) -> None:
    settings = Settings(data_dir=Path(data_dir), database_url=url, lease_s=float(lease_s))
    store = open_store(settings)
    ensure_bootstrap_keys(store, settings.data_dir)
    uvicorn.run(create_app(settings, store), port=int(port), log_level="warning")


def main() -> None:
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for them
    for line in sys.stdin:
        pid = os.fork()
        if pid == 0:
            serve(*line.split())
            return
        sys.stdout.write(f"{pid}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
