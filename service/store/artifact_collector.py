"""Deleting the artifacts of ended requests, once nothing that is under way can need them."""

from collections.abc import Callable

from sqlalchemy import Connection, exists, select

from models.artifact import ArtifactStore
from service.store.database import Database
from service.store.epochs import current
from service.store.key_tables import named_artifacts

MOST_AT_ONCE = 20  # files are deleted under the writers' lock


class ArtifactCollector:
    """For one thread.

    An artifact goes when every policy that named it is over, the epoch that ended the last of them
    is current, and this process has seen that for a grace of its own time: whatever began under an
    earlier epoch has ended by then.  No two clocks are compared; a restart begins the grace anew.
    """

    def __init__(
        self,
        database: Database,
        artifacts: ArtifactStore,
        grace_s: float,
        clock: Callable[[], float],
    ) -> None:
        self._database = database
        self._artifacts = artifacts
        self._grace_s = grace_s
        self._clock = clock
        self._seen: dict[str, float] = {}

    def step(self) -> int:
        """Delete what is due, a few at a time; how many.  Raises StoreUnavailable, OSError."""
        with self._database.reading() as connection:
            unused = _unused(connection)
        now = self._clock()
        self._seen = {digest: self._seen.get(digest, now) for digest in unused}
        due = [digest for digest, since in self._seen.items() if now - since >= self._grace_s]
        if not due:
            return 0
        with self._database.writing() as connection:
            # Asked again where no other writer is: a new policy may have come to name one.
            still = _unused(connection)
            some = [digest for digest in due if digest in still][:MOST_AT_ONCE]
            for digest in some:
                # Before the rows: killed in between, the next step finds them and does it again.
                self._artifacts.remove(digest)
                connection.execute(
                    named_artifacts.delete().where(named_artifacts.c.artifact == digest)
                )
        return len(some)


def _unused(connection: Connection) -> frozenset[str]:
    dropped, other = named_artifacts.c, named_artifacts.alias().c
    now = current(connection)
    in_force = exists().where(
        other.artifact == dropped.artifact,
        other.dropped_epoch.is_(None) | (other.dropped_epoch > now),
    )
    query = select(dropped.artifact).where(dropped.dropped_epoch <= now, ~in_force)
    return frozenset(connection.execute(query).scalars())
