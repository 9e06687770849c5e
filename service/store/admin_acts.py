"""Who changed what: one row, written in the transaction of the change itself."""

from dataclasses import dataclass

from sqlalchemy import Connection, func, select

from service.store.database import now_ms
from service.store.schema import admin_acts


def record_act(
    connection: Connection, key_id: str, act: str, target: str, digest: str = "", epoch: int = 0
) -> None:
    """Note one act.  target: the id acted on; digest: of the policy it concerns."""
    connection.execute(
        admin_acts.insert().values(
            at=now_ms(), key_id=key_id, act=act, target=target, digest=digest, epoch=epoch
        )
    )


@dataclass(frozen=True, slots=True)
class Act:
    """One accepted change."""

    name: str
    key_id: str
    target: str
    epoch: int


def all_acts(connection: Connection) -> tuple[Act, ...]:
    """Every accepted change, oldest first."""
    c = admin_acts.c
    rows = connection.execute(select(c.act, c.key_id, c.target, c.epoch).order_by(c.seq))
    return tuple(Act(*row) for row in rows)


def last_act(connection: Connection) -> int:
    """A number that grows with every accepted change."""
    query = select(func.coalesce(func.max(admin_acts.c.seq), 0))
    return int(connection.execute(query).scalar_one())
