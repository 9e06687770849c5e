"""Which replicas may be serving, from which epoch on, and when an epoch becomes current.

Every transaction that changes the table also looks whether an epoch can become current, which is
what it needs no coordinator for: the last replica that gets ready, or the one that removes the
last that did not, decides for all.
"""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from service.store.database import Database, now_ms
from service.store.epochs import current, make_current, newest
from service.store.schema import replicas

NOTHING = -1  # what a replica serves before its first epoch


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """One replica that may be serving.

    acked_epoch: what it serves.  renewals: how often it has renewed its lease.
    ready_epoch: the newest epoch that it could switch to at once.
    refused_epoch: the newest that it could not load; lower than ``ready_epoch`` it is over.
    """

    id: str
    acked_epoch: int
    renewals: int
    ready_epoch: int = 0
    refused_epoch: int = 0


@dataclass(frozen=True, slots=True)
class Report:
    """What a replica says of itself, as in ReplicaRow."""

    acked: int
    ready: int
    refused: int = 0


@dataclass(frozen=True, slots=True)
class Renewal:
    """current: the epoch to be served, which this renewal may have made so.

    joined: the replica had no lease before: others may have gone on without it.
    """

    current: int
    joined: bool


class Replicas:
    """The leases.  While a replica's row is there, it may serve; without one it must not.

    Every method may raise StoreUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def renew(self, replica_id: str, report: Report, *, news: bool = True) -> Renewal | None:
        """Say where the replica stands, and keep or take its lease.

        news: False where nothing but the lease is new.  None where it has no lease and a newer
        epoch exists: whoever made that one did not wait for this replica, which has to load it
        first.
        """
        with self._database.writing(quiet=not news) as connection:
            joined = not _renewed(connection, replica_id, report)
            if joined:
                if newest(connection) != report.ready:
                    return None
                _insert(connection, replica_id, report)
            return Renewal(self._decided(connection), joined)

    def leave(self, replica_id: str) -> None:
        """Give the lease up.  Only by the replica itself, after it has stopped serving."""
        with self._database.writing() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == replica_id))
            self._decided(connection)

    def all(self) -> tuple[ReplicaRow, ...]:
        """Every replica that may be serving."""
        with self._database.reading() as connection:
            return _rows(connection)

    def remove(self, dead: ReplicaRow) -> bool:
        """Remove a row whose lease has run out.  False where it has been renewed after all."""
        with self._database.writing() as connection:
            connection.execute(
                delete(replicas).where(
                    replicas.c.id == dead.id, replicas.c.renewals == dead.renewals
                )
            )
            self._decided(connection)
            left = select(replicas.c.id).where(replicas.c.id == dead.id)
            return connection.execute(left).one_or_none() is None

    def _decided(self, connection: Connection) -> int:
        """The current epoch, after the next has become it where every replica is ready."""
        now = current(connection)
        agreed = agreed_epoch(_rows(connection))
        if agreed is None or agreed <= now:
            return now
        make_current(connection, agreed)
        self._database.announce(connection)
        return agreed


def agreed_epoch(rows: tuple[ReplicaRow, ...]) -> int | None:
    """The newest epoch that every replica is ready for; None where there is none to ask.

    One that could not load an epoch has no say: it stops serving when that epoch becomes current.
    Where nobody could load it, it does not, and what is served goes on being served.
    """
    return min(
        (row.ready_epoch for row in rows if row.ready_epoch >= row.refused_epoch), default=None
    )


def _rows(connection: Connection) -> tuple[ReplicaRow, ...]:
    c = replicas.c
    query = select(c.id, c.acked_epoch, c.renewals, c.ready_epoch, c.refused_epoch)
    return tuple(ReplicaRow(*row) for row in connection.execute(query))


def _insert(connection: Connection, replica_id: str, report: Report) -> None:
    connection.execute(
        replicas.insert().values(
            id=replica_id,
            acked_epoch=report.acked,
            ready_epoch=report.ready,
            refused_epoch=report.refused,
            renewals=1,
            renewed_at=now_ms(),
        )
    )


def _renewed(connection: Connection, replica_id: str, report: Report) -> bool:
    result = connection.execute(
        update(replicas)
        .where(replicas.c.id == replica_id)
        .values(
            acked_epoch=report.acked,
            ready_epoch=report.ready,
            refused_epoch=report.refused,
            renewals=replicas.c.renewals + 1,
            renewed_at=now_ms(),
        )
    )
    return result.rowcount == 1
