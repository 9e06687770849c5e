"""The store: everything that is durable, as one value."""

import logging
import time
from collections.abc import Callable, Mapping

from models.artifact import ArtifactStore
from service.settings import Settings
from service.store.admin_acts import Act, all_acts
from service.store.api_keys import ApiKeys
from service.store.artifact_collector import ArtifactCollector
from service.store.census import Census, take_census
from service.store.certificates import Certificates
from service.store.changes import Changes, follow
from service.store.compilations import Compilations
from service.store.database import Database, StoreUnavailable, open_database
from service.store.epochs import Epochs
from service.store.forget_requests import ForgetRequests
from service.store.imports import Imports
from service.store.job_census import count_jobs
from service.store.key_opening import open_seals
from service.store.key_rotation import KeyRotation
from service.store.key_service import KeyUnavailable
from service.store.life_events import LifeEvents
from service.store.migration import migrate
from service.store.replicas import Replicas
from service.store.sealing import RequestSeals
from service.store.tidying import Tidying

__all__ = ["KeyUnavailable", "Store", "StoreUnavailable", "open_store"]

AGAIN_S = 1.0

log = logging.getLogger(__name__)


class Store:
    """Forget requests, their compilations, policies, epochs, replicas, keys.  Thread-safe."""

    def __init__(self, database: Database, seals: RequestSeals) -> None:
        self._database = database
        self.seals = seals
        self.forget_requests = ForgetRequests(database, seals)
        self.compilations = Compilations(database, seals)
        self.certificates = Certificates(database, seals.installation)
        self.life_events = LifeEvents(database)
        self.imports = Imports(database, seals)
        self.epochs = Epochs(database, seals)
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

    def acts(self) -> tuple[Act, ...]:
        """Every accepted change, oldest first.  Raises StoreUnavailable."""
        with self._database.reading() as connection:
            return all_acts(connection)

    def tidying(self, settings: Settings) -> Tidying:
        """What deletes what ended requests leave behind, for one thread."""
        artifacts = ArtifactStore(settings.artifacts, remote=settings.artifacts_url)
        grace_s = max(settings.artifact_grace_s, settings.upstream_timeout_s + settings.lease_s)
        collector = ArtifactCollector(self._database, artifacts, grace_s, time.monotonic)
        return Tidying(self._database, self.seals.keys, collector, time.monotonic)

    def rotation(self) -> KeyRotation:
        """What makes a new master key and wraps every data key anew."""
        return KeyRotation(self._database, self.seals.keys)

    def count_jobs(self) -> Mapping[tuple[str, str], int]:
        """Compilations by status and error, as in service/store/job_census.py.

        Raises StoreUnavailable.
        """
        return count_jobs(self._database)

    def close(self) -> None:
        """Close every connection."""
        self.seals.keys.close()
        self._database.close()


def open_store(settings: Settings, patience_s: float = 0.0) -> Store:
    """Open the database, creating or migrating it under a lock.

    patience_s: how long to go on trying while it does not answer, blocking.
    Raises StoreUnavailable, KeyUnavailable where a key that it needs is missing or wrong, or
    ValueError for a URL that cannot be used.
    """
    deadline = time.monotonic() + patience_s
    while True:
        try:
            return _open(settings)
        except StoreUnavailable:
            if time.monotonic() >= deadline:
                raise
            log.warning("store_unavailable, trying again")
            time.sleep(AGAIN_S)


def _open(settings: Settings) -> Store:
    database = _up_to_date(settings.database)
    try:
        return Store(database, open_seals(settings, database))
    except BaseException:
        database.close()
        raise


def _up_to_date(url: str) -> Database:
    database = open_database(url)
    try:
        migrate(database)
    except BaseException:
        database.close()
        raise
    return database
