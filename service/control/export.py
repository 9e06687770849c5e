"""Everything about a forget request but its content: for auditors, also when it is over."""

from datetime import UTC, datetime
from typing import Any, Literal

from pydantic import BaseModel

from service.control.compilation_view import CompilationView
from service.control.moment import moment
from service.store.forget_requests import ForgetRecord
from service.store.life_events import LifeEvent
from service.store.store import Store


class ExportedEvent(BaseModel):
    """One event of its life.  by: id of an API key or of a compiler, or ``system``."""

    number: int
    at: datetime
    event: str
    state: str
    detail: str | None
    policy: str | None
    epoch: int
    by: str


class ExportedCertificate(BaseModel):
    """A certificate that one of its policies has, or had."""

    policy: str
    artifact: str | None
    certificate: dict[str, Any]


class Export(BaseModel):
    """No name, no example, no legal basis, no key: ids, digests, times and figures."""

    object: Literal["forget_request.export"] = "forget_request.export"
    exported_at: datetime
    id: str
    state: str
    strategy: str
    policy: str | None
    epoch: int
    enforced_since: datetime | None
    created_at: datetime
    created_by: str
    updated_at: datetime
    expires_at: datetime | None
    supersedes: str | None
    superseded_by: str | None
    content_erased_at: datetime | None
    certified_for: str | None
    events: list[ExportedEvent]
    compilations: list[CompilationView]
    certificates: list[ExportedCertificate]


def export_of(store: Store, request_id: str) -> Export:
    """Raises UnknownForgetRequest, StoreUnavailable."""
    record = store.forget_requests.get(request_id)
    return Export(
        exported_at=datetime.now(UTC),
        **_of_record(record),
        events=[_event(e) for e in store.life_events.after(request_id)],
        compilations=[CompilationView.of(j, None) for j in store.compilations.all_of(request_id)],
        certificates=[
            ExportedCertificate(policy=policy, **kept)
            for policy, kept in store.certificates.of_request(request_id)
        ],
    )


def _of_record(record: ForgetRecord) -> dict[str, Any]:
    return {
        "id": record.id,
        "state": record.state.value,
        "strategy": record.strategy,
        "policy": record.policy,
        "epoch": record.epoch,
        "enforced_since": moment(record.enforced_at),
        "created_at": moment(record.created_at),
        "created_by": record.created_by,
        "updated_at": moment(record.updated_at),
        "expires_at": moment(record.expires_at),
        "supersedes": record.supersedes,
        "superseded_by": record.superseded_by,
        "content_erased_at": moment(record.erased_at),
        "certified_for": record.certified_for,
    }


def _event(event: LifeEvent) -> ExportedEvent:
    return ExportedEvent(
        number=event.seq,
        at=moment(event.at),
        event=event.event,
        state=event.state.value,
        detail=event.detail or None,
        policy=event.policy or None,
        epoch=event.epoch,
        by=event.by,
    )
