"""``/v1/api_keys``."""

import asyncio
from datetime import datetime
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Request
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from service.audit import AdminEntry, AuditLog
from service.control.authentication import Authentication, principal_of
from service.control.body import body_schema, read_body
from service.control.forget_request import Scoped, in_future, moment, unix_ms
from service.control.keys import EVERY_TENANT, KeyRing, Plane
from service.control.listing import Identified, Listing, listing
from service.errors import NOT_FOUND, ApiError, invalid
from service.settings import Settings
from service.store.api_keys import KeyRecord, UnknownApiKey
from service.store.store import Store


class KeyRequest(BaseModel):
    """A key to be made."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    plane: Plane = "data"
    tenant: Scoped | None = Field(
        None, description='Of data keys ("default"); admin keys act for every tenant.'
    )
    expires_at: Annotated[AwareDatetime, AfterValidator(in_future)] | None = None


class KeyView(Identified):
    """A key without its secret."""

    object: Literal["api_key"] = "api_key"
    plane: str
    tenant: str
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None

    @classmethod
    def of(cls, record: KeyRecord) -> "KeyView":
        """The view of a stored key."""
        return KeyView(
            id=record.id,
            plane=record.plane,
            tenant=record.tenant,
            created_at=moment(record.created_at),
            expires_at=moment(record.expires_at),
            revoked_at=moment(record.revoked_at),
            last_used_at=moment(record.last_used_at),
        )


class NewKeyView(KeyView):
    """A key just made: the only time that it is shown."""

    key: str


class KeyRoutes:
    """Handlers of API keys."""

    def __init__(self, store: Store, settings: Settings, keys: KeyRing, audit: AuditLog) -> None:
        self._store = store
        self._settings = settings
        self._keys = keys
        self._audit = audit

    async def create(self, request: Request) -> NewKeyView:
        """Make a key.  The answer is the only place where it is ever shown."""
        by = principal_of(request)
        asked = await read_body(request, KeyRequest, self._settings.max_body_bytes)
        if asked.plane == "admin" and asked.tenant is not None:
            raise invalid("tenant", "Admin keys act for every tenant: leave this field out.")
        tenant = EVERY_TENANT if asked.plane == "admin" else asked.tenant or "default"
        made = await asyncio.to_thread(
            self._keys.create, asked.plane, tenant, by.key_id, unix_ms(asked.expires_at)
        )
        self._audit.write(AdminEntry(act="create_key", key=by.key_id, target=made.record.id))
        return NewKeyView(**KeyView.of(made.record).model_dump(), key=made.raw)

    async def all(self) -> Listing[KeyView]:
        """Every key, revoked ones too, without secrets."""
        records = await asyncio.to_thread(self._store.api_keys.all)
        return listing([KeyView.of(record) for record in records], more=False)

    async def revoke(self, key_id: str, request: Request) -> KeyView:
        """End a key, everywhere in under a second; again changes nothing."""
        by = principal_of(request)
        try:
            record = await asyncio.to_thread(self._store.api_keys.revoke, key_id, by.key_id)
        except UnknownApiKey:
            raise ApiError(404, "There is no such API key.", NOT_FOUND) from None
        await asyncio.to_thread(self._keys.refresh)
        self._audit.write(AdminEntry(act="revoke_key", key=by.key_id, target=key_id))
        return KeyView.of(record)


def key_router(routes: KeyRoutes, admin: Authentication) -> APIRouter:
    """The paths and what they accept."""
    router = APIRouter(prefix="/v1/api_keys", tags=["API keys"], dependencies=[Depends(admin)])
    router.add_api_route(
        "", routes.create, methods=["POST"], status_code=201, openapi_extra=body_schema(KeyRequest)
    )
    router.add_api_route("", routes.all, methods=["GET"])
    router.add_api_route("/{key_id}", routes.revoke, methods=["DELETE"])
    return router
