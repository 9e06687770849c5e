"""Every error of a FastAPI app as an answer in OpenAI's shape."""

import logging
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from service.attestation import App, Receive, Scope, Send
from service.control.body import refusal
from service.errors import INTERNAL, INVALID_REQUEST, NOT_FOUND, ApiError, unavailable
from service.store.store import StoreUnavailable

log = logging.getLogger(__name__)
Handler = Callable[[Request, Exception], Awaitable[JSONResponse]]


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of the app, FastAPI's own too, an answer in OpenAI's shape."""
    for kind, answer in _ANSWERS.items():
        app.add_exception_handler(kind, _handler(answer))
    app.add_middleware(Silence)


class Silence:
    """ASGI middleware: the last stop of an unknown error, whose text and trace stay unsaid.

    FastAPI's own last handler raises again after answering, and servers print what they catch.
    """

    def __init__(self, app: App) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 500 where nothing has been answered yet."""
        started = False

        async def noting(message: MutableMapping[str, Any]) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception as error:  # noqa: BLE001 - the process boundary: answered without success
            found = _unknown(error)
            if scope["type"] == "http" and not started:
                await JSONResponse(found.body, found.status)(scope, receive, send)


def _handler(answer: Callable[[Exception], ApiError]) -> Handler:
    async def handle(_request: Request, error: Exception) -> JSONResponse:
        found = answer(error)
        return JSONResponse(found.body, found.status, found.headers)

    return handle


def _as_it_is(error: Exception) -> ApiError:
    return error if isinstance(error, ApiError) else _unknown(error)


def _http(error: Exception) -> ApiError:
    if not isinstance(error, HTTPException):
        return _unknown(error)
    kind = NOT_FOUND if error.status_code == 404 else INVALID_REQUEST
    text = {404: "There is nothing here.", 405: "This method is not allowed here."}
    message = text.get(error.status_code, "The request could not be handled.")
    return ApiError(error.status_code, message, kind, headers=dict(error.headers or {}))


def _validation(error: Exception) -> ApiError:
    if not isinstance(error, RequestValidationError):
        return _unknown(error)
    first = dict(error.errors()[0])
    place, *path = first["loc"]  # "query", "path", ...
    first["loc"] = path
    return refusal([first], dict.fromkeys(path) if place == "query" else None)


def _store(_error: Exception) -> ApiError:
    return unavailable()


def _unknown(error: Exception) -> ApiError:
    # The kind of error only: its text could quote what is to be forgotten.
    log.error("admin_request_failed kind=%s", type(error).__name__)
    return ApiError(500, "The server failed to handle this request.", INTERNAL)


_ANSWERS: dict[type[Exception], Callable[[Exception], ApiError]] = {
    ApiError: _as_it_is,
    HTTPException: _http,
    RequestValidationError: _validation,
    StoreUnavailable: _store,
}
