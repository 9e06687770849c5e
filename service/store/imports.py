"""Imports: many forget requests in one upload, kept until each row is enforced or refused.

Whoever works on one holds it as a compilation is held: see service/store/compilations.py.
"""

import secrets
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, and_, select, update

from service.store.admin_acts import record_act
from service.store.database import Database, now_ms
from service.store.epochs import advance, newest
from service.store.request_rows import (
    Added,
    IdempotencyMismatch,
    NewForgetRequest,
    NotSupersedable,
    add_row,
)
from service.store.schema import import_rows, imports
from service.store.sealing import RequestSeals, Seal

WAITING, RUNNING, DONE = "waiting", "running", "done"
_UNDER_WAY = (WAITING, RUNNING)
_ROWS_AT_ONCE = 500
_ANY_BYTES = "latin-1"  # of every byte a character, and back


class UnknownImport(LookupError):
    """There is none of that id."""


class ImportLost(RuntimeError):
    """Another process goes on with it."""


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One import.  status: ``waiting``, ``running`` or ``done``.  Times in Unix ms.

    total, accepted, refused: rows.  epoch: the last that its rows made.
    """

    id: str
    status: str
    total: int
    accepted: int
    refused: int
    epoch: int
    worker: str
    beats: int
    created_at: int
    finished_at: int | None
    created_by: str


@dataclass(frozen=True, slots=True)
class RowFault:
    """Why a row was refused.  It names the field and never quotes it."""

    param: str | None
    code: str | None
    message: str


@dataclass(frozen=True, slots=True)
class RowOutcome:
    """What became of a row.  number: from 1, as lines of the upload are counted."""

    number: int
    forget_request: str | None
    fault: RowFault | None


Prepared = Mapping[int, NewForgetRequest | RowFault]
"""What is to be done with rows, by number."""


class Imports:
    """The imports.  Every method may raise StoreUnavailable."""

    def __init__(self, database: Database, seals: RequestSeals) -> None:
        self._database = database
        self._seals = seals
        self._seal = seals.installation

    def add(
        self, lines: Sequence[tuple[int, bytes]], by: str, idempotency: str | None
    ) -> tuple[ImportRecord, bool]:
        """Keep an upload, all of it or nothing; and whether it is new.

        lines: number and bytes of each row.  Raises IdempotencyMismatch.
        """
        key = idempotency and self._seal.hash("import idempotency", idempotency.encode())
        whole = b"\n".join(line for _, line in lines)
        fingerprint = self._seal.hash("import fingerprint", whole)
        import_id = f"imp_{secrets.token_hex(16)}"
        with self._database.writing() as connection:
            if key:
                same = select(imports).where(imports.c.idempotency == key)
                row = connection.execute(same).one_or_none()
                if row is not None:
                    if row.fingerprint != fingerprint:
                        raise IdempotencyMismatch
                    return _record(row), False
            connection.execute(
                imports.insert().values(
                    id=import_id,
                    status=WAITING,
                    total=len(lines),
                    accepted=0,
                    refused=0,
                    epoch=0,
                    worker="",
                    beats=0,
                    created_at=now_ms(),
                    created_by=by,
                    idempotency=key or None,
                    fingerprint=fingerprint,
                )
            )
            for first in range(0, len(lines), _ROWS_AT_ONCE):
                some = lines[first : first + _ROWS_AT_ONCE]
                connection.execute(import_rows.insert(), [self._row(import_id, *r) for r in some])
            record_act(connection, by, "import", import_id)
            return _record(_one(connection, import_id)), True

    def get(self, import_id: str) -> ImportRecord:
        """Raises UnknownImport."""
        with self._database.reading() as connection:
            return _record(_one(connection, import_id))

    def faults(self, import_id: str, after: int, limit: int) -> tuple[RowOutcome, ...]:
        """Refused rows behind that number, at most so many."""
        c = import_rows.c
        query = (
            select(c.number, c.forget_request, c.param, c.code, c.message)
            .where(c.import_id == import_id, c.message.is_not(None), c.number > after)
            .order_by(c.number)
            .limit(limit)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return tuple(
            RowOutcome(row.number, None, RowFault(row.param, row.code, row.message)) for row in rows
        )

    def under_way(self) -> tuple[ImportRecord, ...]:
        """Imports that are not done, oldest first."""
        query = select(imports).where(imports.c.status.in_(_UNDER_WAY)).order_by(imports.c.seq)
        with self._database.reading() as connection:
            return tuple(_record(row) for row in connection.execute(query))

    def claim(self, seen: ImportRecord, worker: str) -> bool:
        """Take one that still is as it was seen."""
        c = imports.c
        still = and_(c.id == seen.id, c.status == seen.status, c.beats == seen.beats)
        values = {"status": RUNNING, "worker": worker, "beats": seen.beats + 1}
        with self._database.writing() as connection:
            return connection.execute(update(imports).where(still).values(**values)).rowcount == 1

    def release(self, import_id: str, worker: str) -> None:
        """Give it back, for anybody to go on with."""
        values = {"status": WAITING, "worker": "", "beats": imports.c.beats + 1}
        with self._database.writing() as connection:
            connection.execute(update(imports).where(_held(import_id, worker)).values(**values))

    def rows(self, import_id: str, limit: int) -> tuple[tuple[int, bytes], ...]:
        """The next rows to be handled.  Raises SealBroken."""
        c = import_rows.c
        query = (
            select(c.number, c.sealed)
            .where(c.import_id == import_id, c.sealed.is_not(None))
            .order_by(c.number)
            .limit(limit)
        )
        with self._database.reading() as connection:
            found = connection.execute(query).all()
        return tuple((n, _text(self._seal, import_id, n, sealed)) for n, sealed in found)

    def settle(self, import_id: str, worker: str, prepared: Prepared) -> tuple[Added, ...]:
        """Handle rows in one transaction and one epoch; what was added.

        A row that was handled before is left as it is.  Raises ImportLost.
        """
        with self._database.writing() as connection:
            if (
                connection.execute(select(imports.c.id).where(_held(import_id, worker))).first()
                is None
            ):
                raise ImportLost(import_id)
            open_rows = _open(connection, import_id, prepared)
            epoch = newest(connection) + 1
            outcomes = {
                number: self._settled(connection, prepared[number], epoch) for number in open_rows
            }
            added = [each for each in outcomes.values() if isinstance(each, Added)]
            for number, outcome in outcomes.items():
                _write(connection, import_id, number, outcome)
            created = any(each.created for each in added)
            if created:
                advance(connection, self._seal)
            connection.execute(
                update(imports)
                .where(imports.c.id == import_id)
                .values(
                    accepted=imports.c.accepted + len(added),
                    refused=imports.c.refused + len(outcomes) - len(added),
                    epoch=epoch if created else imports.c.epoch,
                    beats=imports.c.beats + 1,
                )
            )
            return tuple(added)

    def finish(self, import_id: str, worker: str) -> None:
        """Every row was handled, and what they made is enforced.  Raises ImportLost."""
        values = {"status": DONE, "worker": "", "finished_at": now_ms()}
        with self._database.writing() as connection:
            held = _held(import_id, worker)
            if connection.execute(update(imports).where(held).values(**values)).rowcount != 1:
                raise ImportLost(import_id)

    def _settled(
        self, connection: Connection, row: NewForgetRequest | RowFault, epoch: int
    ) -> Added | RowFault:
        if isinstance(row, RowFault):
            return row
        try:
            return add_row(connection, self._seals, row, epoch)
        except IdempotencyMismatch:
            words = "This idempotency key came with another body before."
            return RowFault("idempotency_key", "key_reused", words)
        except NotSupersedable:
            words = "There is no such forget request in force."
            return RowFault("supersedes", "not_in_force", words)

    def _row(self, import_id: str, number: int, line: bytes) -> dict[str, Any]:
        sealed = self._seal.close(_place(import_id, number), line.decode(_ANY_BYTES))
        return {"import_id": import_id, "number": number, "sealed": sealed}


def _write(connection: Connection, import_id: str, number: int, outcome: Added | RowFault) -> None:
    values: dict[str, Any] = {"sealed": None}
    if isinstance(outcome, Added):
        values["forget_request"] = outcome.record.id
    else:
        param = outcome.param and outcome.param[:160]
        values |= {"param": param, "code": outcome.code, "message": outcome.message[:512]}
    c = import_rows.c
    same = and_(c.import_id == import_id, c.number == number)
    connection.execute(update(import_rows).where(same).values(**values))


def _open(connection: Connection, import_id: str, prepared: Prepared) -> Iterator[int]:
    c = import_rows.c
    query = select(c.number).where(
        c.import_id == import_id, c.sealed.is_not(None), c.number.in_(prepared)
    )
    return iter(sorted(connection.execute(query).scalars()))


def _held(import_id: str, worker: str) -> Any:
    c = imports.c
    return and_(c.id == import_id, c.worker == worker, c.status == RUNNING)


def _one(connection: Connection, import_id: str) -> Row[Any]:
    row = connection.execute(select(imports).where(imports.c.id == import_id)).one_or_none()
    if row is None:
        raise UnknownImport(import_id)
    return row


def _record(row: Row[Any]) -> ImportRecord:
    return ImportRecord(
        id=row.id,
        status=row.status,
        total=row.total,
        accepted=row.accepted,
        refused=row.refused,
        epoch=row.epoch,
        worker=row.worker,
        beats=row.beats,
        created_at=row.created_at,
        finished_at=row.finished_at,
        created_by=row.created_by,
    )


def _place(import_id: str, number: int) -> str:
    return f"import_rows/{import_id}/{number}"


def _text(seal: Seal, import_id: str, number: int, sealed: bytes) -> bytes:
    return str(seal.open(_place(import_id, number), sealed)).encode(_ANY_BYTES)
