"""Rows of forget requests: read, written and ended, within a transaction of the caller's."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, select, update

from guards.policy import Policy
from models.artifact import canonical_json
from service.store.admin_acts import record_act
from service.store.artifact_uses import drop_artifacts, name_artifacts
from service.store.database import now_ms
from service.store.job_rows import FILED, IMPORTED, cancel_jobs, insert_job
from service.store.life_events import record_event
from service.store.schema import forget_requests, policies
from service.store.sealing import RequestSeals, Seal, opened
from service.store.state import ENFORCED, Event, State, after

SYSTEM = "system"  # who acts when no key does: a timer


class UnknownForgetRequest(LookupError):
    """There is none of that id."""


class IdempotencyMismatch(ValueError):
    """The same idempotency key came with another body before."""


class NotSupersedable(ValueError):
    """What was to be superseded is not there, or is over already."""


@dataclass(frozen=True, slots=True)
class NewForgetRequest:
    """What is to be stored.

    content: everything asked, sealed at rest.  by: id of the admin key.  expires_at: Unix ms.
    idempotency: the client's key for this act, if any; a repetition must ask for the same.
    compiled: whether a better policy is to be compiled.  erase: whether what was asked is to be
    erased once that is in force.  supersedes: id of the request that this one takes over from.
    imported: one of many; its compilation gives way to others.
    """

    id: str
    content: Mapping[str, Any]
    strategy: str
    policy: Policy
    by: str
    expires_at: int | None = None
    idempotency: str | None = None
    compiled: bool = False
    erase: bool = False
    supersedes: str | None = None
    imported: bool = False


@dataclass(frozen=True, slots=True)
class ForgetRecord:
    """One stored request.  Times in Unix ms.

    content: None once it is over or erased.  epoch: the one that made its present state effective;
    enforced_at: when that was first known to hold on every replica.  certified_for: what is served,
    as a digest, while the certificate of the policy in force holds for it.
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
    created_by: str
    certified_for: str | None
    supersedes: str | None
    superseded_by: str | None
    erase: bool
    erased_at: int | None


@dataclass(frozen=True, slots=True)
class Added:
    """created: False where an idempotency key led to a record that was there already."""

    record: ForgetRecord
    created: bool


def one(connection: Connection, request_id: str) -> Row[Any]:
    """The row.  Raises UnknownForgetRequest."""
    query = select(forget_requests).where(forget_requests.c.id == request_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise UnknownForgetRequest(request_id)
    return row


def record_of(connection: Connection, seals: RequestSeals, row: Row[Any]) -> ForgetRecord:
    """The row as a value.  Raises SealBroken, KeyUnavailable."""
    return records_of(connection, seals, [row])[0]


def records_of(
    connection: Connection, seals: RequestSeals, rows: Sequence[Row[Any]]
) -> tuple[ForgetRecord, ...]:
    """The rows as values, in their order.  Raises SealBroken, KeyUnavailable."""
    found = seals.of(connection, [row.id for row in rows if row.sealed is not None])
    return tuple(_record(row, found) for row in rows)


def _record(row: Row[Any], seals: Mapping[str, Seal]) -> ForgetRecord:
    content = None
    if row.sealed is not None:
        content = opened(seals, row.id, _place(row.id), row.sealed)
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
        created_by=row.created_by,
        certified_for=row.certified_for,
        supersedes=row.supersedes,
        superseded_by=row.superseded_by,
        erase=row.erase,
        erased_at=row.erased_at,
    )


def add_row(
    connection: Connection, seals: RequestSeals, new: NewForgetRequest, epoch: int
) -> Added:
    """Store request, policy and, where it is to be compiled, that job; ends what it supersedes.

    epoch: the number that this transaction is going to advance to.  Raises IdempotencyMismatch,
    NotSupersedable.
    """
    fingerprint = seals.installation.hash("fingerprint", canonical_json(_asked(new)))
    idempotency = new.idempotency and seals.installation.hash(
        "idempotency", new.idempotency.encode()
    )
    if idempotency:
        same = forget_requests.c.idempotency == idempotency
        row = connection.execute(select(forget_requests).where(same)).one_or_none()
        if row is not None:
            if row.fingerprint != fingerprint:
                raise IdempotencyMismatch
            return Added(record_of(connection, seals, row), created=False)
    if new.supersedes is not None:
        _supersede(connection, seals, new, epoch)
    _insert(connection, seals, new, epoch, idempotency or None, fingerprint)
    digest = new.policy.digest
    record_act(connection, new.by, "forget", new.id, digest, epoch)
    record_event(connection, new.id, "filed", State.RECEIVED, by=new.by, policy=digest, epoch=epoch)
    if new.compiled:
        insert_job(connection, new.id, IMPORTED if new.imported else FILED)
    return Added(record_of(connection, seals, one(connection, new.id)), created=True)


def end(
    connection: Connection,
    seals: RequestSeals,
    row: Row[Any],
    event: Event,
    epoch: int,
    by: str,
) -> None:
    """End it: nothing of what was asked stays, only that it once was.  Raises TransitionRefused."""
    state = after(State(row.state), event)
    cancel_jobs(connection, seals, row.id, epoch)
    connection.execute(policies.delete().where(policies.c.forget_request == row.id))
    connection.execute(
        update(forget_requests)
        .where(forget_requests.c.id == row.id)
        .values(
            state=state.value,
            sealed=None,
            fingerprint=None,
            certified_for=None,
            epoch=epoch,
            enforced_at=None,
            updated_at=now_ms(),
        )
    )
    drop_artifacts(connection, row.id, epoch)
    seals.shred(connection, row.id)
    record_act(connection, by, event.value, row.id, row.policy or "", epoch)
    record_event(
        connection, row.id, event.value, state, by=by, policy=row.policy or "", epoch=epoch
    )


def move(
    connection: Connection, row: Row[Any], event: Event, *, by: str, detail: str = ""
) -> State:
    """Let an event happen that leaves the policy in force.  Raises TransitionRefused."""
    state = after(State(row.state), event)
    connection.execute(
        update(forget_requests)
        .where(forget_requests.c.id == row.id)
        .values(state=state.value, updated_at=now_ms())
    )
    record_event(
        connection,
        row.id,
        event.value,
        state,
        by=by,
        detail=detail,
        policy=row.policy or "",
        epoch=row.epoch,
    )
    return state


def put_policy(connection: Connection, seals: RequestSeals, policy: Policy) -> None:
    """Store a policy, sealed; one that is there already stays as it is."""
    digest = policy.digest
    known = select(policies.c.digest).where(policies.c.digest == digest)
    if connection.execute(known).one_or_none() is None:
        connection.execute(
            policies.insert().values(
                digest=digest,
                forget_request=policy.forget_request,
                sealed=seals.close(
                    connection, policy.forget_request, f"policies/{digest}", policy.to_json()
                ),
                created_at=now_ms(),
            )
        )
    name_artifacts(connection, policy)


def confirm(connection: Connection, request_ids: Sequence[str], epoch: int) -> None:
    """Note that this epoch of the requests is in force everywhere; the first note stays.

    Of an active one the policies before are deleted, and what was asked where that was wanted: only
    now nobody can need them any more.
    """
    c = forget_requests.c
    same = and_(c.id.in_(request_ids), c.epoch == epoch, c.enforced_at.is_(None))
    rows = connection.execute(select(forget_requests).where(same)).all()
    connection.execute(update(forget_requests).where(same).values(enforced_at=now_ms()))
    for row in rows:
        if State(row.state) is State.ACTIVE:
            _drop_other_policies(connection, row)
            if row.erase and row.sealed is not None:
                erase(connection, row, row.created_by)


def _drop_other_policies(connection: Connection, row: Row[Any]) -> None:
    others = and_(policies.c.forget_request == row.id, policies.c.digest != row.policy)
    connection.execute(delete(policies).where(others))
    drop_artifacts(connection, row.id, row.epoch, keep=row.policy)


def erase(connection: Connection, row: Row[Any], by: str) -> None:
    """Erase what was asked; what enforces it stays, in the policy in force and there alone."""
    _drop_other_policies(connection, row)
    now = now_ms()
    connection.execute(
        update(forget_requests)
        .where(forget_requests.c.id == row.id)
        .values(sealed=None, erase=True, erased_at=now, updated_at=now)
    )
    record_act(connection, by, "erase", row.id, row.policy or "", row.epoch)
    record_event(
        connection,
        row.id,
        "erase",
        State(row.state),
        by=by,
        policy=row.policy or "",
        epoch=row.epoch,
    )


def _asked(new: NewForgetRequest) -> dict[str, Any]:
    return {
        "content": new.content,
        "strategy": new.strategy,
        "expires_at": new.expires_at,
        "erase": new.erase,
        "supersedes": new.supersedes,
    }


def _supersede(
    connection: Connection, seals: RequestSeals, new: NewForgetRequest, epoch: int
) -> None:
    same = forget_requests.c.id == new.supersedes
    row = connection.execute(select(forget_requests).where(same)).one_or_none()
    if row is None or State(row.state) not in ENFORCED:
        raise NotSupersedable
    end(connection, seals, row, Event.SUPERSEDE, epoch, new.by)
    connection.execute(
        update(forget_requests).where(forget_requests.c.id == row.id).values(superseded_by=new.id)
    )


def _insert(
    connection: Connection,
    seals: RequestSeals,
    new: NewForgetRequest,
    epoch: int,
    idempotency: str | None,
    fingerprint: str,
) -> None:
    now = now_ms()
    connection.execute(
        forget_requests.insert().values(
            id=new.id,
            state=State.RECEIVED.value,
            sealed=seals.close(connection, new.id, _place(new.id), new.content),
            strategy=new.strategy,
            policy=new.policy.digest,
            epoch=epoch,
            expires_at=new.expires_at,
            created_at=now,
            updated_at=now,
            created_by=new.by,
            idempotency=idempotency,
            fingerprint=fingerprint,
            supersedes=new.supersedes,
            erase=new.erase,
        )
    )
    put_policy(connection, seals, new.policy)


def _place(request_id: str) -> str:
    return f"forget_requests/{request_id}"
