"""Compilations: durable jobs, each held by one worker at a time, each step's result kept.

A worker's hold is judged as leases are (service/control/lease.py): ``beats`` that stand still for a
lease of somebody else's time.  Everything a worker writes is written only while it holds the job,
in the same transaction, so that one that was given up cannot apply anything twice.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from sqlalchemy import Connection, Row, and_, delete, select, update

from guards.policy import Policy
from service.store.admin_acts import record_act
from service.store.artifact_uses import digests_in, drop_artifacts
from service.store.certificates import put_certificate
from service.store.database import Database, now_ms
from service.store.epochs import advance, newest
from service.store.job_rows import (
    ASKED,
    DONE,
    FAILED,
    MODEL_CHANGED,
    RUNNING,
    UNDER_WAY,
    WAITING,
    Reason,
    finish,
    forget_steps,
    insert_job,
    step_place,
    step_results,
)
from service.store.life_events import record_event
from service.store.request_rows import (
    ForgetRecord,
    move,
    one,
    put_policy,
    record_of,
)
from service.store.schema import (
    compilation_steps,
    compilations,
    forget_requests,
    policies,
)
from service.store.sealing import RequestSeals
from service.store.state import ENFORCED, Event, State, TransitionRefused, after

_CHUNK = 500  # bound variables of one statement
_RETRIES_SEEN, _FRESH_SEEN = 64, 8


class JobLost(RuntimeError):
    """Another worker has the job now, or its request is over: nothing of it may be written."""


class NotCompilable(ValueError):
    """The request is over, or names what enforces it itself: there is nothing to compile."""


@dataclass(frozen=True, slots=True)
class Job:
    """One compilation.  Times in Unix ms.

    status: ``waiting``, ``running``, ``done``, ``failed`` or ``cancelled``.  step: the one under
    way, or that failed; fraction: of the whole, what is finished.  attempt: how often that step has
    been begun.  error: what ended it last, "" where nothing did; detail: names of measures.  beats:
    grows while worker is alive.  model: what is served, as a digest, for which it is compiled.
    """

    id: str
    forget_request: str
    reason: str
    status: str
    step: str
    fraction: float
    attempt: int
    error: str
    detail: str
    worker: str
    beats: int
    model: str
    queued_at: int
    started_at: int | None
    finished_at: int | None
    previous: str | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A job that is ours, and what it begins with.  results: of finished steps, by name."""

    job: Job
    record: ForgetRecord
    policy: Policy
    results: Mapping[str, Any]


class Compilations:
    """The jobs.  Every method may raise StoreUnavailable."""

    def __init__(self, database: Database, seals: RequestSeals) -> None:
        self._database = database
        self._seals = seals
        self._seal = seals.installation

    def candidates(self) -> tuple[Job, ...]:
        """Jobs that a worker could take up: running ones, tried ones, and the next few new ones."""
        c = compilations.c
        turn = (c.priority, c.seq)
        tried = select(compilations).where(c.status == WAITING, c.attempt > 0)
        fresh = select(compilations).where(c.status == WAITING, c.attempt == 0)
        queries = (
            select(compilations).where(c.status == RUNNING).order_by(*turn),
            tried.order_by(*turn).limit(_RETRIES_SEEN),
            fresh.order_by(*turn).limit(_FRESH_SEEN),
        )
        with self._database.reading() as connection:
            return tuple(_job(row) for q in queries for row in connection.execute(q))

    def claim(self, seen: Job, worker: str, model: str) -> Job | None:
        """Take a job that still is as it was seen; None where it is not.

        Steps that were finished for another model are forgotten.
        """
        with self._database.writing() as connection:
            row = _found(connection, seen.id)
            if _job(row) != seen or seen.status not in UNDER_WAY:
                return None
            if seen.model != model:
                forget_steps(connection, seen.id)
            request = one(connection, seen.forget_request)
            move(connection, request, Event.CLAIM, by=worker, detail=seen.reason)
            self._set(
                connection,
                seen.id,
                status=RUNNING,
                worker=worker,
                beats=seen.beats + 1,
                attempt=(seen.attempt if seen.model == model else 0) + 1,
                model=model,
                fraction=seen.fraction if seen.model == model else 0.0,
                step=seen.step if seen.model == model else "",
                started_at=seen.started_at or now_ms(),
            )
            return _job(_found(connection, seen.id))

    def load(self, job: Job) -> Claimed:
        """What the job works with.  Raises SealBroken, JobLost where its request is over."""
        with self._database.reading() as connection:
            return self._claimed(connection, job)

    def beat(self, job_id: str, worker: str) -> bool:
        """Say that the worker lives; False where the job is not its own any more."""
        with self._database.writing(quiet=True) as connection:
            result = connection.execute(
                update(compilations)
                .where(_held(job_id, worker))
                .values(beats=compilations.c.beats + 1)
            )
            return result.rowcount == 1

    def begin_step(self, job_id: str, worker: str, name: str, *, verifying: bool) -> None:
        """Say which step is under way.  Raises JobLost."""
        with self._database.writing() as connection:
            row = _held_row(connection, job_id, worker)
            self._set(connection, job_id, step=name)
            if verifying:
                request = one(connection, row.forget_request)
                move(connection, request, Event.VERIFY, by=worker, detail=name)

    def finish_step(
        self, job_id: str, worker: str, name: str, result: Any, fraction: float
    ) -> None:
        """Keep what a step found: it is not run again.  fraction: of the whole.  Raises JobLost."""
        with self._database.writing() as connection:
            row = _held_row(connection, job_id, worker)
            connection.execute(
                compilation_steps.insert().values(
                    compilation=job_id,
                    name=name,
                    sealed=self._seals.close(
                        connection, row.forget_request, step_place(job_id, name), result
                    ),
                    finished_at=now_ms(),
                )
            )
            self._set(connection, job_id, fraction=fraction, attempt=1, error="", detail="")
            request = one(connection, row.forget_request)
            record_event(
                connection,
                request.id,
                "step",
                State(request.state),
                by=worker,
                detail=name,
                policy=request.policy or "",
                epoch=request.epoch,
            )

    def activate(
        self, job_id: str, worker: str, policy: Policy, certificate: Mapping[str, Any]
    ) -> ForgetRecord:
        """Put the compiled policy in the place of the one in force: one transaction, one epoch.

        certificate: JSON, kept when all else is erased; it quotes nothing of a request.  The policy
        before is kept until this one is known to be in force everywhere.  Raises JobLost.
        """
        with self._database.writing() as connection:
            job = _held_row(connection, job_id, worker)
            request = one(connection, job.forget_request)
            state = after(State(request.state), Event.ACTIVATE)
            epoch = newest(connection) + 1
            put_policy(connection, self._seals, policy)
            put_certificate(connection, self._seal, policy, certificate)
            connection.execute(
                update(forget_requests)
                .where(forget_requests.c.id == request.id)
                .values(
                    state=state.value,
                    policy=policy.digest,
                    certified_for=job.model,
                    epoch=epoch,
                    enforced_at=None,
                    updated_at=now_ms(),
                )
            )
            self._set(
                connection, job_id, fraction=1.0, error="", detail="", previous=request.policy
            )
            kept = digests_in(policy)
            finish(connection, self._seals, job_id, request.id, DONE, epoch, kept)
            advance(connection, self._seal)
            record_act(connection, worker, "activate", request.id, policy.digest, epoch)
            record_event(
                connection,
                request.id,
                Event.ACTIVATE.value,
                state,
                by=worker,
                policy=policy.digest,
                epoch=epoch,
            )
            return record_of(connection, self._seals, one(connection, request.id))

    def fail(self, job_id: str, worker: str, error: str, detail: str = "", *, retry: bool) -> None:
        """Note that it did not work; what is in force stays.  Raises JobLost.

        retry: whether it waits for another try (finished steps are kept) or has ended.
        """
        with self._database.writing() as connection:
            job = _held_row(connection, job_id, worker)
            request = one(connection, job.forget_request)
            event = Event.FAIL if request.certified_for is None else Event.FALL_BACK
            move(connection, request, event, by=worker, detail=error)
            self._set(connection, job_id, error=error, detail=detail)
            if retry:
                self._set(connection, job_id, status=WAITING, worker="")
            else:
                finish(connection, self._seals, job_id, request.id, FAILED, newest(connection))
            record_act(connection, worker, "compile_failed", request.id, request.policy or "", 0)

    def withdraw(self, request_id: str, epoch: int, error: str, by: str) -> bool:
        """Put the policy before in force again, since the compiled one could not be loaded.

        epoch: the one that the compiled policy came with; False where that is not the request's
        last, or was confirmed meanwhile.
        """
        with self._database.writing() as connection:
            request, job = one(connection, request_id), _latest(connection, request_id)
            unconfirmed = request.epoch == epoch and request.enforced_at is None
            if job is None or job.status != DONE or not job.previous or not unconfirmed:
                return False
            state = after(State(request.state), Event.WITHDRAW)
            number = newest(connection) + 1
            same = forget_requests.c.id == request_id
            connection.execute(
                update(forget_requests)
                .where(same)
                .values(
                    state=state.value,
                    policy=job.previous,
                    certified_for=None,
                    epoch=number,
                    enforced_at=None,
                    updated_at=now_ms(),
                )
            )
            connection.execute(delete(policies).where(policies.c.digest == request.policy))
            drop_artifacts(connection, request_id, number, keep=job.previous)
            self._set(connection, job.id, status=FAILED, error=error)
            advance(connection, self._seal)
            record_act(connection, by, "withdraw", request_id, job.previous, number)
            record_event(
                connection,
                request_id,
                Event.WITHDRAW.value,
                state,
                by=by,
                detail=error,
                policy=job.previous,
                epoch=number,
            )
            return True

    def release(self, job_id: str, worker: str) -> None:
        """Give a job back for anybody to go on with; the step under way does not count as tried.

        The request's state stays.  Of one that is not ours any more nothing changes.
        """
        with self._database.writing() as connection:
            connection.execute(
                update(compilations)
                .where(_held(job_id, worker))
                .values(
                    status=WAITING,
                    worker="",
                    attempt=compilations.c.attempt - 1,
                    beats=compilations.c.beats + 1,
                )
            )

    def queue(self, request_id: str, by: str) -> Job:
        """Have a request compiled, or compiled again; one that is under way already is returned.

        Raises UnknownForgetRequest, NotCompilable.
        """
        with self._database.writing() as connection:
            request = one(connection, request_id)
            found = _latest(connection, request_id)
            if found is not None and found.status in UNDER_WAY:
                return _job(found)
            if found is None or State(request.state) not in ENFORCED:
                raise NotCompilable(request_id)
            job_id = self._queue(connection, request, ASKED, by)
            record_act(connection, by, "compile", request_id, request.policy or "", 0)
            return _job(_found(connection, job_id))

    def queue_uncertified(self, model: str, worker: str, limit: int = 500) -> int:
        """Queue requests whose certificate is for another model, at most so many; how many.

        model: what is served, as a digest.  Their policies stay in force; their state says that
        no certificate holds.
        """
        c = forget_requests.c
        query = (
            select(forget_requests)
            .where(c.state == State.ACTIVE.value, c.certified_for != model)
            .order_by(c.seq)
            .limit(limit)
        )
        with self._database.writing() as connection:
            rows = connection.execute(query).all()
            for row in rows:
                found = _latest(connection, row.id)
                if found is not None and found.status in UNDER_WAY:
                    # One that waits for another try fell back to a certificate that is void now.
                    move(connection, row, Event.QUEUE, by=worker, detail=MODEL_CHANGED.name)
                else:
                    self._queue(connection, row, MODEL_CHANGED, worker)
                connection.execute(
                    update(forget_requests).where(c.id == row.id).values(certified_for=None)
                )
                record_act(connection, worker, "recertify", row.id, row.policy or "", 0)
            return len(rows)

    def get(self, job_id: str) -> Job:
        """The job of that id.  Raises LookupError."""
        with self._database.reading() as connection:
            return _job(_found(connection, job_id))

    def latest(self, request_ids: Iterable[str]) -> dict[str, Job]:
        """Each request's newest job, by the request's id; requests without one are left out."""
        ids = list(request_ids)
        found: dict[str, Job] = {}
        with self._database.reading() as connection:
            for first in range(0, len(ids), _CHUNK):
                same = compilations.c.forget_request.in_(ids[first : first + _CHUNK])
                query = select(compilations).where(same).order_by(compilations.c.seq)
                for row in connection.execute(query):
                    found[row.forget_request] = _job(row)
        return found

    def all_of(self, request_id: str) -> tuple[Job, ...]:
        """Every compilation of the request, oldest first."""
        same = compilations.c.forget_request == request_id
        query = select(compilations).where(same).order_by(compilations.c.seq)
        with self._database.reading() as connection:
            return tuple(_job(row) for row in connection.execute(query))

    def _queue(self, connection: Connection, request: Row[Any], why: Reason, by: str) -> str:
        try:
            move(connection, request, Event.QUEUE, by=by, detail=why.name)
        except TransitionRefused as refused:
            raise NotCompilable(request.id) from refused
        return insert_job(connection, request.id, why)

    def _claimed(self, connection: Connection, job: Job) -> Claimed:
        request = one(connection, job.forget_request)
        if State(request.state) not in ENFORCED:
            raise JobLost(job.id)
        digest = request.policy
        query = select(policies.c.sealed).where(policies.c.digest == digest)
        kept = connection.execute(query).scalar_one()
        manifest = self._seals.open(connection, request.id, f"policies/{digest}", kept)
        results = step_results(connection, self._seals, job.id, request.id)
        return Claimed(
            job=job,
            record=record_of(connection, self._seals, request),
            policy=Policy.from_json(manifest),
            results=MappingProxyType(results),
        )

    def _set(self, connection: Connection, job_id: str, **values: Any) -> None:
        same = compilations.c.id == job_id
        connection.execute(update(compilations).where(same).values(**values))


def _held(job_id: str, worker: str) -> Any:
    c = compilations.c
    return and_(c.id == job_id, c.worker == worker, c.status == RUNNING)


def _held_row(connection: Connection, job_id: str, worker: str) -> Row[Any]:
    query = select(compilations).where(_held(job_id, worker))
    row = connection.execute(query).one_or_none()
    if row is None:
        raise JobLost(job_id)
    return row


def _found(connection: Connection, job_id: str) -> Row[Any]:
    query = select(compilations).where(compilations.c.id == job_id)
    row = connection.execute(query).one_or_none()
    if row is None:
        raise LookupError(job_id)
    return row


def _latest(connection: Connection, request_id: str) -> Row[Any] | None:
    same = compilations.c.forget_request == request_id
    query = select(compilations).where(same).order_by(compilations.c.seq.desc()).limit(1)
    return connection.execute(query).one_or_none()


def _job(row: Row[Any]) -> Job:
    return Job(
        id=row.id,
        forget_request=row.forget_request,
        reason=row.reason,
        status=row.status,
        step=row.step,
        fraction=row.fraction,
        attempt=row.attempt,
        error=row.error,
        detail=row.detail,
        worker=row.worker,
        beats=row.beats,
        model=row.model,
        queued_at=row.queued_at,
        started_at=row.started_at,
        finished_at=row.finished_at,
        previous=row.previous,
    )
