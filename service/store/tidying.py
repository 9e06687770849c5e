"""What ended requests leave behind: keys that lie elsewhere, old pages, artifacts."""

import logging
import sqlite3
from collections.abc import Callable

from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from service.store.artifact_collector import ArtifactCollector
from service.store.data_keys import INSTALLATION, DataKeys
from service.store.database import Database, StoreUnavailable
from service.store.epochs import newest
from service.store.key_service import KeyUnavailable
from service.store.schema import forget_requests
from service.store.state import ENFORCED

EVERY_S = 5.0
ORPHAN_S = 600.0  # a key whose request is in no transaction by then is of one that failed
_CHECKPOINT_MS = 50  # it holds writers up for no longer
_IN_FORCE = [state.value for state in sorted(ENFORCED)]

log = logging.getLogger(__name__)


class Tidying:
    """For one thread, which calls ``step`` as often as it likes."""

    def __init__(
        self,
        database: Database,
        keys: DataKeys,
        collector: ArtifactCollector,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._keys = keys
        self._collector = collector
        self._clock = clock
        self._next = 0.0
        self._epoch = -1
        self._keyless: dict[str, float] = {}

    def step(self) -> None:
        """Do what is due, briefly.  Raises StoreUnavailable.

        What fails for another cause is logged and tried again: nothing that is served hangs on it.
        """
        now = self._clock()
        if now < self._next:
            return
        self._next = now + EVERY_S
        with self._database.reading() as connection:
            epoch = newest(connection)
        try:
            with self._database.reading() as connection:
                self._keys.warm(connection)
            self._collector.step()
            if epoch != self._epoch or self._keyless:
                self._destroy_keys(now)
        except (OSError, KeyUnavailable) as error:
            log.error("tidying_failed kind=%s", type(error).__name__)
            return
        # Overwrites what SQLite's write-ahead log still holds of values that were deleted.
        if epoch != self._epoch and (not self._database.is_sqlite or truncated_log(self._database)):
            self._epoch = epoch

    def _destroy_keys(self, now: float) -> None:
        """Destroy keys elsewhere whose requests are over, or never came to be."""
        if not self._keys.elsewhere:
            return
        with self._database.reading() as connection:
            owners = self._keys.owners(connection) - {INSTALLATION}
            query = select(forget_requests.c.id, forget_requests.c.state)
            known = {row.id: row.state for row in connection.execute(query)}
        over = {owner for owner in owners if known.get(owner, _IN_FORCE[0]) not in _IN_FORCE}
        # The keys were read before the requests: one without a request may be about to get it.
        self._keyless = {
            owner: self._keyless.get(owner, now) for owner in owners if owner not in known
        }
        over |= {owner for owner, since in self._keyless.items() if now - since >= ORPHAN_S}
        if over:
            self._keys.destroy_now(over)


def truncated_log(database: Database) -> bool:
    """Move SQLite's write-ahead log into the database and empty it; False where readers are busy.

    Raises StoreUnavailable.
    """
    try:
        raw = database.engine.raw_connection()
        try:
            cursor = raw.cursor()
            (before,) = cursor.execute("PRAGMA busy_timeout").fetchone()
            cursor.execute(f"PRAGMA busy_timeout = {_CHECKPOINT_MS}")
            try:
                (busy, _, _) = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                cursor.execute(f"PRAGMA busy_timeout = {int(before)}")
            return not busy
        finally:
            raw.close()
    except sqlite3.OperationalError:
        return False
    except (sqlite3.Error, SQLAlchemyError) as error:
        raise StoreUnavailable(type(error).__name__) from None
