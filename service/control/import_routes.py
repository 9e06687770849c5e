"""``/v1/forget_requests/import``: many forget requests in one upload of JSON lines."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from fastapi.responses import StreamingResponse

from service.control.authentication import Authentication, principal_of
from service.control.import_request import MAX_ROWS, ImportView, RowErrors, RowErrorView
from service.control.import_runner import ImportRunner
from service.control.known import known
from service.control.server_events import Look, ServerEvent, event_stream
from service.errors import CONFLICT, ApiError, invalid
from service.settings import Settings
from service.store.forget_requests import IdempotencyMismatch
from service.store.imports import DONE, ImportRecord
from service.store.store import Store

ERRORS_SHOWN = 100
MEDIA_TYPES = ("application/jsonl", "application/x-ndjson", "application/jsonlines")

IdempotencyKey = Annotated[str | None, Header(max_length=255, min_length=1)]
After = Annotated[int, Query(ge=0)]
Limit = Annotated[int, Query(ge=1, le=1_000)]


class ImportRoutes:
    """Handlers of imports.  202: the upload is durable; its rows are enforced one batch after the
    other, and the import says how far that is."""

    def __init__(
        self,
        store: Store,
        settings: Settings,
        runner: ImportRunner,
        ending: Callable[[], bool],
    ) -> None:
        self._store = store
        self._settings = settings
        self._runner = runner
        self._ending = ending

    async def create(
        self, request: Request, response: Response, idempotency_key: IdempotencyKey = None
    ) -> ImportView:
        """Keep an upload.  202; 200 where the idempotency key has been here before."""
        by = principal_of(request)
        lines = await _lines(request, self._settings.import_bytes, self._settings.max_body_bytes)
        add = self._store.imports.add
        try:
            record, new = await asyncio.to_thread(add, lines, by.key_id, idempotency_key)
        except IdempotencyMismatch:
            message = "This idempotency key came with another body before."
            raise ApiError(409, message, CONFLICT, "Idempotency-Key", "key_reused") from None
        self._runner.wake()
        response.status_code = 202 if new else 200
        return await asyncio.to_thread(self._view, record)

    async def get(self, import_id: str) -> ImportView:
        """One import."""
        with known():
            return await asyncio.to_thread(self._found, import_id)

    async def errors(self, import_id: str, after: After = 0, limit: Limit = 100) -> RowErrors:
        """Refused rows, in the order of the upload."""
        with known():
            await asyncio.to_thread(self._store.imports.get, import_id)
        found = await asyncio.to_thread(self._store.imports.faults, import_id, after, limit + 1)
        shown = [RowErrorView.of(each) for each in found[:limit]]
        return RowErrors(data=shown, has_more=len(found) > limit)

    async def events(self, import_id: str) -> StreamingResponse:
        """How far it is, as server-sent events, until it is done."""
        with known():
            await asyncio.to_thread(self._store.imports.get, import_id)
        last: list[ImportRecord] = []

        async def look() -> Look:
            record = await asyncio.to_thread(self._store.imports.get, import_id)
            shown = [] if last and _same(last.pop(), record) else [_event(record)]
            last.append(record)
            return Look(shown, last=record.status == DONE)

        return event_stream(look, self._ending)

    def _found(self, import_id: str) -> ImportView:
        return self._view(self._store.imports.get(import_id))

    def _view(self, record: ImportRecord) -> ImportView:
        return ImportView.of(record, self._store.imports.faults(record.id, 0, ERRORS_SHOWN))


def _same(one: ImportRecord, other: ImportRecord) -> bool:
    return ImportView.of(one) == ImportView.of(other)


def _event(record: ImportRecord) -> ServerEvent:
    shown = ImportView.of(record).model_dump(mode="json", exclude={"errors"})
    return ServerEvent("progress", shown, record.accepted + record.refused)


def import_router(routes: ImportRoutes, admin: Authentication) -> APIRouter:
    """The paths and what they accept."""
    router = APIRouter(
        prefix="/v1/forget_requests/import",
        tags=["imports"],
        dependencies=[Depends(admin)],
    )
    add: Any = router.add_api_route
    body = {"requestBody": {"required": True, "content": {MEDIA_TYPES[0]: {}}}}
    add("", routes.create, methods=["POST"], status_code=202, openapi_extra=body)
    add("/{import_id}", routes.get, methods=["GET"])
    add("/{import_id}/errors", routes.errors, methods=["GET"])
    add("/{import_id}/events", routes.events, methods=["GET"], response_model=None)
    return router


async def _lines(request: Request, limit: int, line_limit: int) -> list[tuple[int, bytes]]:
    """The rows with their numbers; empty lines are none.  Raises ApiError (400)."""
    _check_headers(request)
    found: list[tuple[int, bytes]] = []
    number = size = 0
    rest = b""
    async for chunk in request.stream():
        size += len(chunk)
        if size > limit:
            raise invalid(None, f"The body is larger than {limit} bytes.", "body_too_large")
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            number += 1
            _add(found, number, line, line_limit)
        if len(rest) > line_limit:
            raise _too_long(number + 1, line_limit)
    _add(found, number + 1, rest, line_limit)
    if not found:
        raise invalid(None, "The import has no rows.", "no_rows")
    return found


def _add(found: list[tuple[int, bytes]], number: int, line: bytes, line_limit: int) -> None:
    line = line.strip()
    if not line:
        return
    if len(line) > line_limit:
        raise _too_long(number, line_limit)
    if len(found) == MAX_ROWS:
        raise invalid(None, f"An import has at most {MAX_ROWS} rows.", "too_many_rows")
    found.append((number, line))


def _too_long(number: int, line_limit: int) -> ApiError:
    return invalid(f"[{number}]", f"This row is larger than {line_limit} bytes.", "body_too_large")


def _check_headers(request: Request) -> None:
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise invalid(None, "Compressed request bodies are not accepted.", "unsupported_encoding")
    media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media_type not in MEDIA_TYPES:
        raise invalid(None, f"The body must be {MEDIA_TYPES[0]}.", "unsupported_media_type")
