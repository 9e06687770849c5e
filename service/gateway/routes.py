"""The cold paths: models, health and metrics."""

import time
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Header, Response
from fastapi.responses import JSONResponse

from service.control.keys import KeyRing
from service.errors import ApiError, unauthenticated, unavailable
from service.gateway.readiness import Readiness
from service.gateway.unavailable import Reason
from service.metrics import CONTENT_TYPE, Metrics
from service.settings import Settings
from service.store.store import StoreUnavailable

Json = Any


def add_data_routes(app: FastAPI, settings: Settings, keys: KeyRing, readiness: Readiness) -> None:
    """``/v1/models`` (for holders of a key), ``/health/live`` and ``/health/ready``."""
    created = int(time.time())
    model = {
        "id": settings.served_model_name,
        "object": "model",
        "created": created,
        "owned_by": "lethe",
        "max_model_len": settings.max_model_len,
    }

    def known(authorization: Annotated[str, Header()] = "") -> None:
        scheme, _, raw = authorization.partition(" ")
        bearer = raw.strip() if scheme.lower() == "bearer" else ""
        try:
            principal = keys.authenticate(bearer, "data") if bearer else None
        except StoreUnavailable as error:
            raise unavailable() from error
        if principal is None and settings.require_api_key:
            raise unauthenticated()

    @app.get("/v1/models", dependencies=[Depends(known)])
    def models() -> Json:
        return {"object": "list", "data": [model]}

    @app.get("/v1/models/{name:path}", dependencies=[Depends(known)])
    def one_model(name: str) -> Json:
        if name != model["id"]:
            message = "The requested model does not exist or is not available."
            raise ApiError(404, message, param="model", code="model_not_found")
        return model

    @app.get("/health/live")
    async def live() -> Json:
        return {"status": "ok"}

    @app.get("/health/ready")
    async def ready() -> JSONResponse:
        body = _state(readiness)
        return JSONResponse(body, status_code=503 if body["reasons"] else 200)


def _state(readiness: Readiness) -> Json:
    reasons = readiness.reasons()
    body: Json = {"status": "unavailable" if reasons else "ok", "reasons": reasons}
    if pending := readiness.pending():
        body["pending"] = pending
    if Reason.ENGINE_LACKS in reasons:
        body["details"] = readiness.details()
    return body


def add_admin_routes(app: FastAPI, metrics: Metrics) -> None:
    """``/health`` and ``/metrics``: no key, this listener is not for the world."""

    @app.get("/health")
    async def health() -> Json:
        return {"status": "ok"}

    @app.get("/metrics")
    def exposition() -> Response:
        return Response(metrics.exposition(), media_type=CONTENT_TYPE)
