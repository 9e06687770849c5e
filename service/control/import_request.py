"""An import as the API takes it and shows it."""

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, StringConstraints, TypeAdapter

from service.control.forget_request import ForgetRequest
from service.control.listing import Identified
from service.control.moment import moment
from service.store.imports import ImportRecord, RowOutcome

MAX_ROWS = 10_000

_KEY = TypeAdapter(Annotated[str, StringConstraints(min_length=1, max_length=255)] | None)


@dataclass(frozen=True, slots=True)
class ImportedRow:
    """One line: a forget request, and maybe ``idempotency_key`` beside its fields."""

    forget_request: ForgetRequest
    idempotency_key: str | None

    @staticmethod
    def of(value: dict[str, Any]) -> "ImportedRow":
        """Raises pydantic's ValidationError."""
        rest = {name: each for name, each in value.items() if name != "idempotency_key"}
        return ImportedRow(
            ForgetRequest.model_validate(rest),
            _KEY.validate_python(value.get("idempotency_key")),
        )


class RowErrorView(BaseModel):
    """Why a row was refused.  row: its line in the upload, from 1.  It quotes nothing."""

    row: int
    param: str | None
    code: str | None
    message: str

    @staticmethod
    def of(outcome: RowOutcome) -> "RowErrorView":
        """The view of a refused row."""
        fault = outcome.fault
        if fault is None:
            raise ValueError("the row was accepted")
        return RowErrorView(
            row=outcome.number, param=fault.param, code=fault.code, message=fault.message
        )


class ImportView(Identified):
    """status: ``waiting``, ``running``, or ``done``: then each row is enforced or refused.

    errors: the first of them; the rest are at ``/errors``.
    """

    object: Literal["forget_request.import"] = "forget_request.import"
    status: str
    rows: int
    accepted: int
    refused: int
    fraction: float
    epoch: int | None
    created_at: datetime
    finished_at: datetime | None
    errors: list[RowErrorView]

    @staticmethod
    def of(record: ImportRecord, errors: tuple[RowOutcome, ...] = ()) -> "ImportView":
        """The view of a stored import."""
        handled = record.accepted + record.refused
        return ImportView(
            id=record.id,
            status=record.status,
            rows=record.total,
            accepted=record.accepted,
            refused=record.refused,
            fraction=round(handled / record.total, 4) if record.total else 1.0,
            epoch=record.epoch or None,
            created_at=moment(record.created_at),
            finished_at=moment(record.finished_at),
            errors=[RowErrorView.of(each) for each in errors],
        )


class RowErrors(BaseModel):
    """A page of refused rows; ``after=<the last one's row>`` asks for the next."""

    object: Literal["list"] = "list"
    data: list[RowErrorView]
    has_more: bool
