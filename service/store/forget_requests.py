"""Forget requests as they are kept.  Every accepted change is one transaction and one new epoch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, select, update

from guards.policy import Policy
from models.artifact import canonical_json
from service.store.admin_acts import record_act
from service.store.artifact_uses import drop_artifacts, name_artifacts
from service.store.database import Database, now_ms
from service.store.epochs import advance, newest
from service.store.schema import forget_requests, policies
from service.store.sealing import RequestSeals, Seal, opened
from service.store.state import ENFORCED, State, step

SYSTEM = "system"  # who acts when no key does: a timer
_ACTIVE = [state.value for state in sorted(ENFORCED)]


class UnknownForgetRequest(LookupError):
    """There is none of that id."""


class IdempotencyMismatch(ValueError):
    """The same idempotency key came with another body before."""


@dataclass(frozen=True, slots=True)
class NewForgetRequest:
    """What is to be stored.

    content: everything asked, sealed at rest.  by: id of the admin key.  expires_at: Unix ms.
    idempotency: the client's key for this act, if any; a repetition must have the same content.
    """

    id: str
    content: Mapping[str, Any]
    strategy: str
    policy: Policy
    by: str
    expires_at: int | None = None
    idempotency: str | None = None


@dataclass(frozen=True, slots=True)
class ForgetRecord:
    """One stored request.  Times in Unix ms.

    content: None once it is over.  epoch: the one that made its present state effective;
    enforced_at: when that was first known to hold on every replica.
    """

    id: str
    state: State
    content: Mapping[str, Any] | None
    strategy: str
    policy: str | None
    epoch: int
    enforced_at: int | None
    expires_at: int | None
    created_at: int
    updated_at: int


@dataclass(frozen=True, slots=True)
class Added:
    """created: False where an idempotency key led to a record that was there already."""

    record: ForgetRecord
    created: bool


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

        Raises IdempotencyMismatch.
        """
        fingerprint = self._seal.hash("fingerprint", canonical_json(new.content))
        idempotency = new.idempotency and self._seal.hash("idempotency", new.idempotency.encode())
        with self._database.writing() as connection:
            if idempotency:
                same = forget_requests.c.idempotency == idempotency
                row = connection.execute(select(forget_requests).where(same)).one_or_none()
                if row is not None:
                    if row.fingerprint != fingerprint:
                        raise IdempotencyMismatch
                    return Added(self._records(connection, [row])[0], created=False)
            self._insert(connection, new, idempotency or None, fingerprint)
            epoch = advance(connection, self._seal)
            record_act(connection, new.by, "forget", new.id, new.policy.digest, epoch)
            return Added(self._get(connection, new.id), created=True)

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
                last = _one(connection, after).seq
                query = query.where(forget_requests.c.seq < last)
            rows = connection.execute(query.limit(limit + 1)).all()
            records = self._records(connection, rows[:limit])
        return Page(records, more=len(rows) > limit)

    def revoke(self, request_id: str, by: str) -> ForgetRecord:
        """End it: its policy leaves the epoch, what was asked is erased.

        Of one that is over already nothing changes.  Raises UnknownForgetRequest.
        """
        with self._database.writing() as connection:
            row = _one(connection, request_id)
            if State(row.state) in ENFORCED:
                epoch = newest(connection) + 1
                self._end(connection, row, State.REVOKED, epoch)
                advance(connection, self._seal)
                record_act(connection, by, "revoke", request_id, row.policy or "", epoch)
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
                self._end(connection, row, State.EXPIRED, epoch)
                record_act(connection, SYSTEM, "expire", row.id, row.policy or "", epoch)
            if rows:
                advance(connection, self._seal)
        return tuple(row.id for row in rows)

    def mark_enforced(self, request_id: str, epoch: int) -> ForgetRecord:
        """Note that this epoch of the record is in force everywhere; the first note stays."""
        with self._database.writing() as connection:
            connection.execute(
                update(forget_requests)
                .where(
                    forget_requests.c.id == request_id,
                    forget_requests.c.epoch == epoch,
                    forget_requests.c.enforced_at.is_(None),
                )
                .values(enforced_at=now_ms())
            )
            return self._get(connection, request_id)

    def _insert(
        self,
        connection: Connection,
        new: NewForgetRequest,
        idempotency: str | None,
        fingerprint: str,
    ) -> None:
        now = now_ms()
        connection.execute(
            forget_requests.insert().values(
                id=new.id,
                state=State.RECEIVED.value,
                sealed=self._seals.close(
                    connection, new.id, f"forget_requests/{new.id}", new.content
                ),
                strategy=new.strategy,
                policy=new.policy.digest,
                epoch=newest(connection) + 1,
                expires_at=new.expires_at,
                created_at=now,
                updated_at=now,
                created_by=new.by,
                idempotency=idempotency,
                fingerprint=fingerprint,
            )
        )
        digest = new.policy.digest
        place = f"policies/{digest}"
        sealed = self._seals.close(connection, new.id, place, new.policy.to_json())
        connection.execute(
            policies.insert().values(
                digest=digest, forget_request=new.id, sealed=sealed, created_at=now
            )
        )
        name_artifacts(connection, new.policy)

    def _get(self, connection: Connection, request_id: str) -> ForgetRecord:
        return self._records(connection, [_one(connection, request_id)])[0]

    def _records(
        self, connection: Connection, rows: Sequence[Row[Any]]
    ) -> tuple[ForgetRecord, ...]:
        seals = self._seals.of(connection, [row.id for row in rows if row.sealed is not None])
        return tuple(_record(row, seals) for row in rows)

    def _end(self, connection: Connection, row: Row[Any], state: State, epoch: int) -> None:
        _end(connection, row, state, epoch)
        drop_artifacts(connection, row.id, epoch)
        self._seals.shred(connection, row.id)


def _record(row: Row[Any], seals: Mapping[str, Seal]) -> ForgetRecord:
    content = None
    if row.sealed is not None:
        content = opened(seals, row.id, f"forget_requests/{row.id}", row.sealed)
    return ForgetRecord(
        id=row.id,
        state=State(row.state),
        content=content,
        strategy=row.strategy,
        policy=row.policy,
        epoch=row.epoch,
        enforced_at=row.enforced_at,
        expires_at=row.expires_at,
        created_at=row.created_at,
        updated_at=row.updated_at,
    )


def _one(connection: Connection, request_id: str) -> Row[Any]:
    query = select(forget_requests).where(forget_requests.c.id == request_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownForgetRequest(request_id)
    return row


def _end(connection: Connection, row: Row[Any], state: State, epoch: int) -> None:
    # Data minimisation: of what is no longer suppressed, only that it once was stays.
    connection.execute(policies.delete().where(policies.c.forget_request == row.id))
    connection.execute(
        update(forget_requests)
        .where(forget_requests.c.id == row.id)
        .values(
            state=step(State(row.state), state).value,
            sealed=None,
            fingerprint=None,
            epoch=epoch,
            enforced_at=None,
            updated_at=now_ms(),
        )
    )
