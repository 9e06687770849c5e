"""How far a compilation is, as the API shows it."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel

from service.control.moment import moment
from service.store.compilations import Job
from service.store.forget_requests import ForgetRecord
from service.store.store import Store

_SHOWN = ("leaks", "changed", "unmatched", "matched", "cost", "p_value")


class CompilationError(BaseModel):
    """Why it did not work.  measures: names of those below the operator's floor.

    retried: whether another try will be made without being asked for.
    """

    code: str
    measures: list[str]
    retried: bool


class CertificateSummary(BaseModel):
    """The figures of a policy's certificate that are looked at first."""

    leaks: Any
    changed: Any
    unmatched: Any
    matched: Any
    cost: float
    p_value: float


class CompilationView(BaseModel):
    """fraction: finished, from 0 to 1.  attempt: how often the present step was begun.

    certificate: of the policy in force, where it has one that holds for what is served.
    """

    object: Literal["compilation"] = "compilation"
    id: str
    status: str
    reason: str
    step: str | None
    fraction: float
    attempt: int
    error: CompilationError | None
    certificate: CertificateSummary | None
    queued_at: datetime
    started_at: datetime | None
    finished_at: datetime | None

    @staticmethod
    def of(job: Job, certificate: Mapping[str, Any] | None) -> "CompilationView":
        """The view of a job."""
        return CompilationView(
            id=job.id,
            status=job.status,
            reason=job.reason,
            step=job.step or None,
            fraction=round(job.fraction, 4),
            attempt=job.attempt,
            error=_error(job),
            certificate=_summary(certificate) if certificate is not None else None,
            queued_at=moment(job.queued_at),
            started_at=moment(job.started_at),
            finished_at=moment(job.finished_at),
        )


def compilation_views(store: Store, records: Sequence[ForgetRecord]) -> dict[str, CompilationView]:
    """Of each record that is or was compiled, by its id.  Raises StoreUnavailable."""
    jobs = store.compilations.latest([record.id for record in records])
    holding = {r.id: r.policy for r in records if r.certified_for and r.policy}
    certificates = store.certificates.of_policies(holding.values())
    return {
        request_id: CompilationView.of(job, certificates.get(holding.get(request_id) or ""))
        for request_id, job in jobs.items()
    }


def _error(job: Job) -> CompilationError | None:
    if not job.error:
        return None
    measures = [name for name in job.detail.split(",") if name]
    return CompilationError(code=job.error, measures=measures, retried=job.status == "waiting")


def _summary(certificate: Mapping[str, Any]) -> CertificateSummary:
    held_out = certificate["certificate"]["held_out"]
    return CertificateSummary(**{name: held_out[name] for name in _SHOWN})
