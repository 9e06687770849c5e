"""What has happened to each forget request, in order: one row, written with the change itself."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from service.store.database import Database, now_ms
from service.store.schema import life_events
from service.store.state import State


@dataclass(frozen=True, slots=True)
class LifeEvent:
    """One event.  Nothing here is of what was asked.

    seq: grows with every event of any request.  at: Unix ms.  event: ``filed``, ``erase``,
    ``step`` (one has finished), or one of ``service.store.state.Event``.  detail: a step's name or
    an error's code.  policy: digest of the one that is in force from then on.  by: id of a key, of
    a worker, or ``system``.
    """

    seq: int
    at: int
    event: str
    state: State
    detail: str
    policy: str
    epoch: int
    by: str


def record_event(
    connection: Connection,
    request_id: str,
    event: str,
    state: State,
    *,
    by: str,
    policy: str = "",
    epoch: int = 0,
    detail: str = "",
) -> None:
    """Note one event in the transaction that makes it happen."""
    connection.execute(
        life_events.insert().values(
            forget_request=request_id,
            at=now_ms(),
            event=event,
            state=state.value,
            detail=detail,
            policy=policy,
            epoch=epoch,
            by=by,
        )
    )


class LifeEvents:
    """Reads them.  Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def after(self, request_id: str, seq: int = 0) -> tuple[LifeEvent, ...]:
        """The request's events behind the one of that number, oldest first."""
        table = life_events.c
        query = (
            select(
                table.seq,
                table.at,
                table.event,
                table.state,
                table.detail,
                table.policy,
                table.epoch,
                table.by,
            )
            .where(table.forget_request == request_id, table.seq > seq)
            .order_by(table.seq)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return tuple(
            LifeEvent(
                seq=row.seq,
                at=row.at,
                event=row.event,
                state=State(row.state),
                detail=row.detail,
                policy=row.policy,
                epoch=row.epoch,
                by=row.by,
            )
            for row in rows
        )
