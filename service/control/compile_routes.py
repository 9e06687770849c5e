"""``/v1/forget_requests/{id}/...``: compile again, follow, certificate, erase, export."""

import asyncio
from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Request, Response
from fastapi.responses import StreamingResponse

from service.audit import AuditLog
from service.control.activation import Activation
from service.control.authentication import Authentication, principal_of
from service.control.certificate_view import CertificateView, certificate_view
from service.control.enforcing import Enforcing
from service.control.export import Export, export_of
from service.control.forget_request import ForgetRequestView
from service.control.known import known
from service.control.progress import Progress
from service.control.server_events import Look, event_stream
from service.errors import CONFLICT, NOT_FOUND, ApiError
from service.store.compilations import NotCompilable
from service.store.forget_requests import ForgetRecord
from service.store.job_rows import UNDER_WAY
from service.store.state import State
from service.store.store import Store

LastEventId = Annotated[str | None, Header(max_length=20, pattern=r"^[0-9]*$")]


class CompileRoutes:
    """Handlers of what happens to a request after it was filed."""

    def __init__(
        self, store: Store, activation: Activation, audit: AuditLog, ending: Callable[[], bool]
    ) -> None:
        """ending: whether this process is about to end, and streams with it."""
        self._store = store
        self._enforcing = Enforcing(store, activation, audit)
        self._ending = ending

    async def compile(
        self, request_id: str, request: Request, response: Response
    ) -> ForgetRequestView:
        """Have it compiled, or compiled again; what is in force stays so meanwhile.  202."""
        by = principal_of(request)
        try:
            with known():
                await asyncio.to_thread(self._store.compilations.queue, request_id, by.key_id)
        except NotCompilable:
            message = "There is nothing to compile: it is over, or names its guards itself."
            raise ApiError(409, message, CONFLICT, code="not_compilable") from None
        record = await asyncio.to_thread(self._store.forget_requests.get, request_id)
        self._enforcing.note("compile", by, record)
        response.status_code = 202
        return await self._enforcing.view(record)

    async def events(self, request_id: str, last_event_id: LastEventId = None) -> StreamingResponse:
        """Its life as server-sent events, until nothing is compiled any more."""
        progress = Progress(self._store, request_id, int(last_event_id or 0))
        with known():
            first = await asyncio.to_thread(progress.look)
        pending = [first]

        async def look() -> Look:
            return pending.pop() if pending else await asyncio.to_thread(progress.look)

        return event_stream(look, self._ending)

    async def certificate(self, request_id: str) -> CertificateView:
        """The certificate of the policy in force."""
        with known():
            record = await asyncio.to_thread(self._store.forget_requests.get, request_id)
        found = await asyncio.to_thread(certificate_view, self._store, record)
        if found is None:
            message = "The policy in force has no certificate."
            raise ApiError(404, message, NOT_FOUND, code="no_certificate")
        return found

    async def erase(self, request_id: str, request: Request) -> ForgetRequestView:
        """Erase what was asked: now, or once the policy that is being compiled is in force."""
        by = principal_of(request)
        with known():
            record = await asyncio.to_thread(self._erased, request_id, by.key_id)
        self._enforcing.note("erase", by, record)
        return await self._enforcing.view(record)

    async def export(self, request_id: str) -> Export:
        """Everything about it but its content, for auditors."""
        with known():
            return await asyncio.to_thread(export_of, self._store, request_id)

    def _erased(self, request_id: str, by: str) -> ForgetRecord:
        record = self._store.forget_requests.get(request_id)
        jobs = self._store.compilations.latest([request_id])
        needed = request_id in jobs and jobs[request_id].status in UNDER_WAY
        at_once = not needed and (record.state is State.ACTIVE or request_id not in jobs)
        return self._store.forget_requests.ask_erasure(request_id, by, at_once=at_once)


def compile_router(routes: CompileRoutes, admin: Authentication) -> APIRouter:
    """The paths and what they accept."""
    router = APIRouter(
        prefix="/v1/forget_requests/{request_id}",
        tags=["forget requests"],
        dependencies=[Depends(admin)],
    )
    add: Any = router.add_api_route
    add("/compile", routes.compile, methods=["POST"], status_code=202)
    add("/erase", routes.erase, methods=["POST"])
    add("/events", routes.events, methods=["GET"], response_model=None)
    add("/certificate", routes.certificate, methods=["GET"])
    add("/export", routes.export, methods=["GET"])
    return router
