"""``/v1/forget_requests``: filing, listing, reading, revoking."""

import asyncio
from typing import Annotated

from fastapi import APIRouter, Depends, Header, Query, Request, Response

from service.audit import AuditLog
from service.control.activation import Activation
from service.control.authentication import Authentication, principal_of
from service.control.body import body_schema, read_body
from service.control.compilation_view import compilation_views
from service.control.enforcing import Enforcing
from service.control.engine_abilities import EngineAbilities
from service.control.filing import not_in_force, prepared
from service.control.forget_request import ForgetRequest, ForgetRequestView, State
from service.control.keys import Principal
from service.control.known import known
from service.control.listing import Listing, listing
from service.control.stopgap import Unenforceable
from service.errors import CONFLICT, ApiError, invalid
from service.settings import Settings
from service.store.forget_requests import (
    Added,
    IdempotencyMismatch,
    NotSupersedable,
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
        self._enforcing = Enforcing(store, activation, audit)
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
        except NotSupersedable:
            raise not_in_force() from None
        if added.created:
            self._enforcing.note("forget", by, added.record)
        response.status_code = 201 if added.created else 200
        return await self._enforcing.enforced(added.record)

    async def page(
        self, state: State | None = None, after: str | None = None, limit: Limit = 20
    ) -> Listing[ForgetRequestView]:
        """Some requests, newest first."""
        try:
            return await asyncio.to_thread(self._page, state, after, limit)
        except UnknownForgetRequest:
            raise invalid("after", "There is no such forget request.") from None

    async def get(self, request_id: str) -> ForgetRequestView:
        """One request."""
        with known():
            record = await asyncio.to_thread(self._store.forget_requests.get, request_id)
        return await self._enforcing.view(record)

    async def revoke(self, request_id: str, request: Request) -> ForgetRequestView:
        """End one; again changes nothing."""
        by = principal_of(request)
        revoke = self._store.forget_requests.revoke
        with known():
            record = await asyncio.to_thread(revoke, request_id, by.key_id)
        self._enforcing.note("revoke", by, record)
        return await self._enforcing.enforced(record)

    def _add(self, asked: ForgetRequest, by: Principal, idempotency_key: str | None) -> Added:
        new = prepared(
            asked,
            by=by.key_id,
            idempotency=idempotency_key,
            settings=self._settings,
            artifacts=self._artifacts,
            engine=self._engine.known,
        )
        return self._store.forget_requests.add(new)

    def _page(
        self, state: State | None, after: str | None, limit: int
    ) -> Listing[ForgetRequestView]:
        page = self._store.forget_requests.page(state=state, after=after, limit=limit)
        compilations = compilation_views(self._store, page.records)
        views = [ForgetRequestView.of(r, compilations.get(r.id)) for r in page.records]
        return listing(views, more=page.more)


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
