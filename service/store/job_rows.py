"""Rows of compilations: queued and cancelled within a transaction of the caller's."""

import secrets
from typing import Any, NamedTuple

from sqlalchemy import Connection, delete, select, update

from service.store.artifact_uses import digests_in_json, drop_unused
from service.store.database import now_ms
from service.store.schema import compilation_steps, compilations
from service.store.sealing import RequestSeals

WAITING, RUNNING, DONE, FAILED, CANCELLED = "waiting", "running", "done", "failed", "cancelled"
UNDER_WAY = (WAITING, RUNNING)


class Reason(NamedTuple):
    """Why something is compiled.  priority: lower comes first."""

    name: str
    priority: int


ASKED = Reason("asked", 0)
FILED = Reason("filed", 0)
MODEL_CHANGED = Reason("model_changed", 1)
IMPORTED = Reason("imported", 2)


def insert_job(connection: Connection, request_id: str, reason: Reason) -> str:
    """Queue a compilation; its id."""
    job_id = f"cmp_{secrets.token_hex(16)}"
    connection.execute(
        compilations.insert().values(
            id=job_id,
            forget_request=request_id,
            reason=reason.name,
            status=WAITING,
            priority=reason.priority,
            step="",
            fraction=0.0,
            attempt=0,
            error="",
            detail="",
            worker="",
            beats=0,
            model="",
            queued_at=now_ms(),
        )
    )
    return job_id


def cancel_jobs(connection: Connection, seals: RequestSeals, request_id: str, epoch: int) -> None:
    """End what is compiled for the request; whoever works on it notices at the next beat."""
    for job_id in connection.execute(
        select(compilations.c.id).where(
            compilations.c.forget_request == request_id, compilations.c.status.in_(UNDER_WAY)
        )
    ).scalars():
        finish(connection, seals, job_id, request_id, CANCELLED, epoch)


def finish(
    connection: Connection,
    seals: RequestSeals,
    job_id: str,
    request_id: str,
    status: str,
    epoch: int,
    kept: frozenset[str] = frozenset(),
) -> None:
    """End a compilation.  What its steps found is erased: it is of the request's content.

    kept: digests of artifacts that a policy names; all others that steps speak of are deleted by
    and by.
    """
    results = step_results(connection, seals, job_id, request_id)
    named = digests_in_json(results) - kept
    drop_unused(connection, request_id, sorted(named), epoch)
    forget_steps(connection, job_id)
    connection.execute(
        update(compilations)
        .where(compilations.c.id == job_id)
        .values(status=status, finished_at=now_ms(), worker="")
    )


def step_results(
    connection: Connection, seals: RequestSeals, job_id: str, request_id: str
) -> dict[str, Any]:
    """What finished steps found, by their names.  Raises SealBroken, KeyUnavailable."""
    same = compilation_steps.c.compilation == job_id
    rows = connection.execute(select(compilation_steps).where(same)).all()
    return {
        row.name: seals.open(connection, request_id, step_place(job_id, row.name), row.sealed)
        for row in rows
    }


def forget_steps(connection: Connection, job_id: str) -> None:
    """Erase what steps found."""
    connection.execute(delete(compilation_steps).where(compilation_steps.c.compilation == job_id))


def step_place(job_id: str, name: str) -> str:
    """Where a step's result is sealed for."""
    return f"compilation_steps/{job_id}/{name}"
