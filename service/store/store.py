"""The store: everything that is durable, as one value."""

import logging
import time
from collections.abc import Callable

from service.settings import Settings, read_secret
from service.store.api_keys import ApiKeys
from service.store.census import Census, take_census
from service.store.changes import Changes, follow
from service.store.database import Database, StoreUnavailable, open_database
from service.store.epochs import Epochs
from service.store.forget_requests import ForgetRequests
from service.store.migration import migrate
from service.store.replicas import Replicas
from service.store.sealing import Seal

__all__ = ["Store", "StoreUnavailable", "open_store"]

AGAIN_S = 1.0

log = logging.getLogger(__name__)


class Store:
    """Forget requests, policies, epochs, replicas and API keys.  Thread-safe."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self.forget_requests = ForgetRequests(database, seal)
        self.epochs = Epochs(database, seal)
        self.replicas = Replicas(database)
        self.api_keys = ApiKeys(database)

    def changes(self, wake: Callable[[], None] = lambda: None) -> Changes:
        """A new watch for changes, for one thread.  Raises StoreUnavailable.

        wake: called, from another thread, where a change announces itself (PostgreSQL).
        """
        return follow(self._database, wake)

    def census(self) -> Census:
        """How many forget requests are in each state.  Raises StoreUnavailable."""
        return take_census(self._database)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()


def open_store(settings: Settings, patience_s: float = 0.0) -> Store:
    """Open the database, creating or migrating it under a lock.

    patience_s: how long to go on trying while it does not answer, blocking.
    Raises StoreUnavailable, or ValueError for a URL or a ``store.key`` that cannot be used.
    """
    seal = Seal(read_secret(settings.data_dir / "store.key"))
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return Store(_up_to_date(settings.database), seal)
        except StoreUnavailable:
            if time.monotonic() >= deadline:
                raise
            log.warning("store_unavailable, trying again")
            time.sleep(AGAIN_S)


def _up_to_date(url: str) -> Database:
    database = open_database(url)
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database
