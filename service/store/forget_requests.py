"""Forget requests as they are kept.  Every accepted change is one transaction and one new epoch."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select, update

from service.store.admin_acts import record_act
from service.store.database import Database, now_ms
from service.store.epochs import advance, newest
from service.store.request_rows import (
    SYSTEM,
    Added,
    ForgetRecord,
    IdempotencyMismatch,
    NewForgetRequest,
    NotSupersedable,
    UnknownForgetRequest,
    add_row,
    confirm,
    end,
    erase,
    one,
    record_of,
    records_of,
)
from service.store.schema import forget_requests
from service.store.sealing import RequestSeals
from service.store.state import ENFORCED, Event, State

__all__ = [
    "SYSTEM",
    "Added",
    "ForgetRecord",
    "ForgetRequests",
    "IdempotencyMismatch",
    "NewForgetRequest",
    "NotSupersedable",
    "Page",
    "UnknownForgetRequest",
]

_ACTIVE = [state.value for state in sorted(ENFORCED)]


@dataclass(frozen=True, slots=True)
class Page:
    """Some records, newest first.  more: whether older ones follow."""

    records: tuple[ForgetRecord, ...]
    more: bool


class ForgetRequests:
    """The forget requests.  Every method may raise StoreUnavailable."""

    def __init__(self, database: Database, seals: RequestSeals) -> None:
        self._database = database
        self._seals = seals
        self._seal = seals.installation

    def add(self, new: NewForgetRequest) -> Added:
        """Store request and policy and advance the epoch: durable, or nothing has happened.

        What it supersedes ends in the same epoch.  Raises IdempotencyMismatch, NotSupersedable.
        """
        with self._database.writing() as connection:
            added = add_row(connection, self._seals, new, newest(connection) + 1)
            if added.created:
                advance(connection, self._seal)
            return added

    def get(self, request_id: str) -> ForgetRecord:
        """Raises UnknownForgetRequest."""
        with self._database.reading() as connection:
            return self._get(connection, request_id)

    def page(self, *, state: State | None, after: str | None, limit: int) -> Page:
        """At most ``limit`` records older than ``after``.  Raises UnknownForgetRequest for it."""
        query: Select[Any] = select(forget_requests).order_by(forget_requests.c.seq.desc())
        if state is not None:
            query = query.where(forget_requests.c.state == state.value)
        with self._database.reading() as connection:
            if after is not None:
                last = one(connection, after).seq
                query = query.where(forget_requests.c.seq < last)
            rows = connection.execute(query.limit(limit + 1)).all()
            records = records_of(connection, self._seals, rows[:limit])
        return Page(records, more=len(rows) > limit)

    def revoke(self, request_id: str, by: str) -> ForgetRecord:
        """End it: its policy leaves the epoch, what was asked is erased.

        Of one that is over already nothing changes.  Raises UnknownForgetRequest.
        """
        with self._database.writing() as connection:
            row = one(connection, request_id)
            if State(row.state) in ENFORCED:
                end(connection, self._seals, row, Event.REVOKE, newest(connection) + 1, by)
                advance(connection, self._seal)
            return self._get(connection, request_id)

    def expire_due(self, now: int) -> tuple[str, ...]:
        """End every request whose time is over; their ids.  now: Unix ms."""
        due = select(forget_requests).where(
            forget_requests.c.state.in_(_ACTIVE), forget_requests.c.expires_at <= now
        )
        with self._database.reading() as connection:
            if connection.execute(due.limit(1)).one_or_none() is None:
                return ()
        with self._database.writing() as connection:
            rows = connection.execute(due).all()  # another replica may have been faster
            epoch = newest(connection) + 1
            for row in rows:
                end(connection, self._seals, row, Event.EXPIRE, epoch, SYSTEM)
            if rows:
                advance(connection, self._seal)
        return tuple(row.id for row in rows)

    def ask_erasure(self, request_id: str, by: str, *, at_once: bool) -> ForgetRecord:
        """Erase what was asked: now, or once the compiled policy is in force.

        Of one that is erased or over nothing changes.  Raises UnknownForgetRequest.
        """
        with self._database.writing() as connection:
            row = one(connection, request_id)
            if State(row.state) not in ENFORCED or row.sealed is None:
                return record_of(connection, self._seals, row)
            if at_once:
                erase(connection, row, by)
            elif not row.erase:
                same = forget_requests.c.id == request_id
                values = {"erase": True, "updated_at": now_ms()}
                connection.execute(update(forget_requests).where(same).values(**values))
                record_act(connection, by, "ask_erasure", request_id, row.policy or "", row.epoch)
            return self._get(connection, request_id)

    def mark_enforced(self, request_id: str, epoch: int) -> ForgetRecord:
        """Note that this epoch of the record is in force everywhere; the first note stays."""
        with self._database.writing() as connection:
            confirm(connection, [request_id], epoch)
            return self._get(connection, request_id)

    def mark_all_enforced(self, request_ids: Sequence[str], epoch: int) -> None:
        """The same for many."""
        with self._database.writing() as connection:
            confirm(connection, request_ids, epoch)

    def unconfirmed(self, limit: int = 100) -> tuple[tuple[str, int], ...]:
        """Requests in force, with their epochs, that nobody has confirmed everywhere yet."""
        c = forget_requests.c
        query = (
            select(c.id, c.epoch)
            .where(c.state.in_(_ACTIVE), c.enforced_at.is_(None))
            .order_by(c.epoch)
            .limit(limit)
        )
        with self._database.reading() as connection:
            return tuple((row.id, row.epoch) for row in connection.execute(query))

    def _get(self, connection: Connection, request_id: str) -> ForgetRecord:
        return record_of(connection, self._seals, one(connection, request_id))
