"""Errors in OpenAI's shape: the one form in which anything is refused, on both planes."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

INVALID_REQUEST = "invalid_request_error"
AUTHENTICATION = "authentication_error"
NOT_FOUND = "not_found_error"
CONFLICT = "conflict_error"
UNAVAILABLE = "service_unavailable"
INTERNAL = "server_error"


def error_body(
    message: str,
    type: str,  # noqa: A002  (the name in the wire format)
    param: str | None = None,
    code: str | None = None,
) -> dict[str, Any]:
    """The JSON body of an error.  param: the field at fault; it never quotes the field's value."""
    return {"error": {"message": message, "type": type, "param": param, "code": code}}


class ApiError(Exception):
    """A refusal that the client sees.  Its text holds nothing of prompts or forget list."""

    def __init__(
        self,
        status: int,
        message: str,
        type: str = INVALID_REQUEST,  # noqa: A002
        param: str | None = None,
        code: str | None = None,
        headers: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.type = type
        self.param = param
        self.code = code
        self.headers = dict(headers)

    @property
    def body(self) -> dict[str, Any]:
        """The JSON body of the answer."""
        return error_body(self.message, self.type, self.param, self.code)


def invalid(param: str | None, message: str, code: str | None = None) -> ApiError:
    """400 naming the field."""
    return ApiError(400, message, INVALID_REQUEST, param, code)


def unauthenticated() -> ApiError:
    """401, the same for every cause: no key, garbage, unknown, expired, revoked, other plane."""
    return ApiError(
        401,
        "Incorrect API key provided.",
        AUTHENTICATION,
        code="invalid_api_key",
        headers={"www-authenticate": "Bearer"},
    )


def unavailable() -> ApiError:
    """503, the same for every cause: nothing is served that could not be guarded."""
    return ApiError(
        503,
        "The service is temporarily unavailable.",
        UNAVAILABLE,
        code="guard_unavailable",
        headers={"retry-after": "1"},
    )
