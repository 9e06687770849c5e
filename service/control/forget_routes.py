"""``/v1/forget_requests``."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from service.audit import AdminEntry, AuditLog
from service.control.activation import Activation, NotEnforcedYet
from service.control.authentication import Authentication, principal_of
from service.control.body import body_schema, read_body
from service.control.chosen_guards import chosen_guards
from service.control.engine_abilities import EngineAbilities
from service.control.forget_request import ForgetRequest, ForgetRequestView, State, unix_ms
from service.control.keys import Principal
from service.control.listing import Listing, listing
from service.control.stopgap import Unenforceable, check_enforceable, first_policy, new_id
from service.errors import CONFLICT, NOT_FOUND, UNAVAILABLE, ApiError, invalid
from service.settings import Settings
from service.store.forget_requests import (
    Added,
    ForgetRecord,
    IdempotencyMismatch,
    NewForgetRequest,
    UnknownForgetRequest,
)
from service.store.store import Store

Limit = Annotated[int, Query(ge=1, le=100)]
IdempotencyKey = Annotated[str | None, Header(max_length=255, min_length=1)]


class ForgetRoutes:
    """Handlers that answer only once what they did is durable and enforced everywhere."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        activation: Activation,
        audit: AuditLog,
        engine: EngineAbilities,
    ) -> None:
        self._store = store
        self._settings = settings
        self._artifacts = settings.artifact_store()
        self._activation = activation
        self._audit = audit
        self._engine = engine

    async def create(
        self, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> ForgetRequestView:
        """Accept a request.  201; 200 where the idempotency key has been here before."""
        by = principal_of(request)
        asked = await read_body(request, ForgetRequest, self._settings.max_body_bytes)
        try:
            added = await asyncio.to_thread(self._add, asked, by, idempotency_key)
        except Unenforceable as refused:
            raise invalid(refused.field, "This name cannot be looked for in texts.") from None
        except IdempotencyMismatch:
            message = "This idempotency key came with another body before."
            raise ApiError(409, message, CONFLICT, "Idempotency-Key", "key_reused") from None
        if added.created:
            self._note("forget", by, added.record)
        response.status_code = 201 if added.created else 200
        return await self._enforced(added.record)

    async def page(
        self, state: State | None = None, after: str | None = None, limit: Limit = 20
    ) -> Listing[ForgetRequestView]:
        """Some requests, newest first."""
        find = self._store.forget_requests.page
        try:
            page = await asyncio.to_thread(find, state=state, after=after, limit=limit)
        except UnknownForgetRequest:
            raise invalid("after", "There is no such forget request.") from None
        return listing([ForgetRequestView.of(r) for r in page.records], more=page.more)

    async def get(self, request_id: str) -> ForgetRequestView:
        """One request."""
        with _known():
            record = await asyncio.to_thread(self._store.forget_requests.get, request_id)
        return ForgetRequestView.of(record)

    async def revoke(self, request_id: str, request: Request) -> ForgetRequestView:
        """End one; again changes nothing."""
        by = principal_of(request)
        revoke = self._store.forget_requests.revoke
        with _known():
            record = await asyncio.to_thread(revoke, request_id, by.key_id)
        self._note("revoke", by, record)
        return await self._enforced(record)

    def _add(self, asked: ForgetRequest, by: Principal, idempotency_key: str | None) -> Added:
        check_enforceable(asked)
        request_id = new_id()
        guards = chosen_guards(asked, self._artifacts, self._engine.known)
        return self._store.forget_requests.add(
            NewForgetRequest(
                id=request_id,
                content=asked.content(),
                strategy=asked.strategy,
                policy=first_policy(request_id, asked, guards, self._settings, self._artifacts),
                by=by.key_id,
                expires_at=unix_ms(asked.expires_at),
                idempotency=idempotency_key,
            )
        )

    async def _enforced(self, record: ForgetRecord) -> ForgetRequestView:
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
        return ForgetRequestView.of(record)

    def _note(self, act: str, by: Principal, record: ForgetRecord) -> None:
        self._audit.write(
            AdminEntry(
                act=act,
                key=by.key_id,
                target=record.id,
                digest=record.policy or "",
                epoch=record.epoch,
            )
        )


def forget_router(routes: ForgetRoutes, admin: Authentication) -> APIRouter:
    """The paths and what they accept."""
    router = APIRouter(
        prefix="/v1/forget_requests", tags=["forget requests"], dependencies=[Depends(admin)]
    )
    router.add_api_route(
        "",
        routes.create,
        methods=["POST"],
        status_code=201,
        response_model=ForgetRequestView,
        openapi_extra=body_schema(ForgetRequest),
    )
    router.add_api_route("", routes.page, methods=["GET"])
    router.add_api_route("/{request_id}", routes.get, methods=["GET"])
    router.add_api_route("/{request_id}", routes.revoke, methods=["DELETE"])
    return router


@contextmanager
def _known() -> Iterator[None]:
    try:
        yield
    except UnknownForgetRequest:
        raise ApiError(404, "There is no such forget request.", NOT_FOUND) from None
