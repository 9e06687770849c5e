"""How many forget requests are in each state: numbers only, for metrics."""

from dataclasses import dataclass

from sqlalchemy import func, select

from service.store.database import Database
from service.store.epochs import newest
from service.store.schema import forget_requests
from service.store.state import ENFORCED, State

_WAITING = [state.value for state in sorted(ENFORCED - {State.ACTIVE})]


@dataclass(frozen=True, slots=True)
class Census:
    """newest_epoch: in the store.  oldest_waiting: when the oldest request was filed whose compiled
    policy is not in force yet, in Unix ms; None: there is none."""

    states: dict[State, int]
    newest_epoch: int
    oldest_waiting: int | None


def take_census(database: Database) -> Census:
    """Count, in one snapshot.  Raises StoreUnavailable."""
    states = select(forget_requests.c.state, func.count()).group_by(forget_requests.c.state)
    oldest = select(func.min(forget_requests.c.created_at)).where(
        forget_requests.c.state.in_(_WAITING)
    )
    with database.reading() as connection:
        return Census(
            {State(state): count for state, count in connection.execute(states)},
            newest(connection),
            connection.execute(oldest).scalar_one(),
        )
