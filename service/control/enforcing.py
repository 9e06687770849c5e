"""Answering a change once it holds: waited for, noted, shown."""

import asyncio

from service.audit import AdminEntry, AuditLog
from service.control.activation import Activation, NotEnforcedYet
from service.control.compilation_view import compilation_views
from service.control.forget_request import ForgetRequestView
from service.control.keys import Principal
from service.errors import UNAVAILABLE, ApiError
from service.store.forget_requests import ForgetRecord
from service.store.store import Store


class Enforcing:
    """What routes do with a record that they have just changed."""

    def __init__(self, store: Store, activation: Activation, audit: AuditLog) -> None:
        self._store = store
        self._activation = activation
        self._audit = audit

    async def enforced(self, record: ForgetRecord) -> ForgetRequestView:
        """Its view, once its epoch is in force everywhere.

        Raises ApiError (503), StoreUnavailable.
        """
        try:
            await self._activation.everywhere(record.epoch)
        except NotEnforcedYet:
            message = f"{record.id} is stored, but not confirmed by every replica yet."
            retry = {"retry-after": "1"}
            raise ApiError(
                503, message, UNAVAILABLE, code="enforcement_pending", headers=retry
            ) from None
        if record.enforced_at is None:
            mark = self._store.forget_requests.mark_enforced
            record = await asyncio.to_thread(mark, record.id, record.epoch)
        return await self.view(record)

    async def view(self, record: ForgetRecord) -> ForgetRequestView:
        """The record and how far its compilation is."""
        compilations = await asyncio.to_thread(compilation_views, self._store, [record])
        return ForgetRequestView.of(record, compilations.get(record.id))

    def note(self, act: str, by: Principal, record: ForgetRecord) -> None:
        """A line of the audit."""
        self._audit.write(
            AdminEntry(
                act=act,
                key=by.key_id,
                target=record.id,
                digest=record.policy or "",
                epoch=record.epoch,
            )
        )
