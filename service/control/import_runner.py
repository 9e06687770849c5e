"""Works imports off: row by row checked, many in one epoch, each batch enforced before the next."""

import asyncio
import logging
import secrets
import threading
from typing import Any

from pydantic import ValidationError

from models.artifact import ArtifactStore
from service.audit import AdminEntry, AuditLog
from service.control.activation import Activation, NotEnforcedYet
from service.control.body import refusal
from service.control.engine_abilities import EngineAbilities
from service.control.filing import prepared
from service.control.import_request import ImportedRow
from service.control.lease import Clock, margin, steady
from service.control.stopgap import Unenforceable, stop_gap_artifact
from service.errors import ApiError
from service.json_body import read_object
from service.settings import Settings
from service.store.forget_requests import NewForgetRequest
from service.store.imports import RUNNING, ImportLost, ImportRecord, RowFault
from service.store.store import KeyUnavailable, Store, StoreUnavailable

POLL_S = 1.0
_LEAST, _MOST = 100, 1_000  # rows of one epoch

log = logging.getLogger(__name__)


class ImportRunner:
    """One thread that takes up imports, also those that another process left behind.

    An epoch takes as many rows as replicas load in half a lease, so that none falls behind.
    """

    def __init__(
        self,
        store: Store,
        settings: Settings,
        activation: Activation,
        engine: EngineAbilities,
        audit: AuditLog,
        clock: Clock = steady,
    ) -> None:
        self.id = f"iw_{secrets.token_hex(8)}"
        self._store = store
        self._settings = settings
        self._artifacts: ArtifactStore = settings.artifact_store()
        self._activation = activation
        self._engine = engine
        self._audit = audit
        self._clock = clock
        # As for enforcement, a process that works shows life at each batch: longer than that.
        self._patience_s = 2 * (settings.lease_s + margin(settings.lease_s)) + 10.0
        self._seen: dict[str, tuple[int, float]] = {}
        self._batch = _LEAST
        self._wake = threading.Event()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start.  Returns at once."""
        self._thread = threading.Thread(target=self._run, name="lethe-import", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop after the batch under way; whoever comes next goes on from there."""
        self._stopping.set()
        self._wake.set()
        if self._thread is not None:
            self._thread.join(timeout=self._patience_s)

    def wake(self) -> None:
        """Look at once.  From any thread."""
        self._wake.set()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for each in self._claimable():
                    if self._store.imports.claim(each, self.id):
                        self._work(each.id)
            except (StoreUnavailable, KeyUnavailable) as error:
                log.error("import_waits kind=%s", type(error).__name__)
            except Exception as error:  # noqa: BLE001 - the thread's boundary: it is tried again
                log.error("import_failed kind=%s", type(error).__name__)
            self._wake.wait(POLL_S)
            self._wake.clear()

    def _claimable(self) -> list[ImportRecord]:
        now, found = self._clock(), self._store.imports.under_way()
        self._seen = {each.id: self._since(each, now) for each in found}
        return [
            each
            for each in found
            if each.status != RUNNING or now - self._seen[each.id][1] >= self._patience_s
        ]

    def _since(self, each: ImportRecord, now: float) -> tuple[int, float]:
        before = self._seen.get(each.id)
        return before if before and before[0] == each.beats else (each.beats, now)

    def _work(self, import_id: str) -> None:
        try:
            by = self._store.imports.get(import_id).created_by
            corruption = stop_gap_artifact(import_id, self._settings, self._artifacts)
            while rows := self._store.imports.rows(import_id, self._batch):
                if self._stopping.is_set():
                    self._store.imports.release(import_id, self.id)
                    return
                self._settle(import_id, by, corruption, rows)
            self._store.imports.finish(import_id, self.id)
        except ImportLost:
            log.warning("import_lost import=%s", import_id)
            return
        self._audit.write(AdminEntry(act="import", key=by, target=import_id))

    def _settle(
        self, import_id: str, by: str, corruption: str, rows: tuple[tuple[int, bytes], ...]
    ) -> None:
        prepared_rows = {number: self._row(line, by, corruption) for number, line in rows}
        began = self._clock()
        added = self._store.imports.settle(import_id, self.id, prepared_rows)
        epochs = {each.record.epoch for each in added if each.created}
        for each in added:
            if each.created:
                self._audit.write(
                    AdminEntry(
                        act="forget",
                        key=by,
                        target=each.record.id,
                        digest=each.record.policy or "",
                        epoch=each.record.epoch,
                    )
                )
        for epoch in epochs:
            ids = [each.record.id for each in added if each.created]
            if self._everywhere(epoch):
                self._store.forget_requests.mark_all_enforced(ids, epoch)
        self._resize(self._clock() - began)

    def _everywhere(self, epoch: int) -> bool:
        while not self._stopping.is_set():
            try:
                asyncio.run(self._activation.everywhere(epoch))
                return True
            except NotEnforcedYet:
                log.error("enforcement_pending epoch=%d", epoch)
        return False

    def _resize(self, took_s: float) -> None:
        quarter = self._settings.lease_s / 4
        if took_s < quarter:
            self._batch = min(_MOST, 2 * self._batch)
        elif took_s > 2 * quarter:
            self._batch = max(_LEAST, self._batch // 2)

    def _row(self, line: bytes, by: str, corruption: str) -> NewForgetRequest | RowFault:
        try:
            asked = _read(line)
            return prepared(
                asked.forget_request,
                by=by,
                idempotency=asked.idempotency_key,
                settings=self._settings,
                artifacts=self._artifacts,
                engine=self._engine.known,
                corruption=corruption,
                imported=True,
            )
        except Unenforceable as refused:
            return RowFault(refused.field, None, "This name cannot be looked for in texts.")
        except ApiError as error:
            return RowFault(error.param, error.code, error.message)


def _read(line: bytes) -> ImportedRow:
    value: dict[str, Any] = read_object(line)
    try:
        return ImportedRow.of(value)
    except ValidationError as error:
        raise refusal(error.errors(include_url=False, include_input=False), value) from None
