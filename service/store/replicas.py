"""Which replicas may be serving, and from which epoch on."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, select, update

from service.store.database import Database, now_ms
from service.store.epochs import newest
from service.store.schema import replicas


@dataclass(frozen=True, slots=True)
class ReplicaRow:
    """One replica that may be serving.  renewals: how often it has renewed its lease."""

    id: str
    acked_epoch: int
    renewals: int


class Replicas:
    """The leases.  While a replica's row is there, it may serve; without one it must not.

    Every method may raise StoreUnavailable.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def renew(self, replica_id: str, epoch: int) -> bool:
        """State that the replica serves ``epoch``, and keep or take its lease.

        False where it has no lease and a newer epoch exists: whoever made that one did not wait
        for this replica, which has to load it first.
        """
        with self._database.writing() as connection:
            if _renewed(connection, replica_id, epoch):
                return True
            if newest(connection) != epoch:
                return False
            connection.execute(
                replicas.insert().values(
                    id=replica_id, acked_epoch=epoch, renewals=1, renewed_at=now_ms()
                )
            )
            return True

    def leave(self, replica_id: str) -> None:
        """Give the lease up.  Only by the replica itself, after it has stopped serving."""
        with self._database.writing() as connection:
            connection.execute(delete(replicas).where(replicas.c.id == replica_id))

    def all(self) -> tuple[ReplicaRow, ...]:
        """Every replica that may be serving."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(replicas.c.id, replicas.c.acked_epoch, replicas.c.renewals)
            )
            return tuple(ReplicaRow(*row) for row in rows)

    def remove(self, dead: ReplicaRow) -> None:
        """Remove a row whose lease has run out, unless it has been renewed after all."""
        with self._database.writing() as connection:
            connection.execute(
                delete(replicas).where(
                    replicas.c.id == dead.id, replicas.c.renewals == dead.renewals
                )
            )


def _renewed(connection: Connection, replica_id: str, epoch: int) -> bool:
    result = connection.execute(
        update(replicas)
        .where(replicas.c.id == replica_id)
        .values(acked_epoch=epoch, renewals=replicas.c.renewals + 1, renewed_at=now_ms())
    )
    return result.rowcount == 1
