"""404 where there is none of an id."""

from collections.abc import Iterator
from contextlib import contextmanager

from service.errors import NOT_FOUND, ApiError
from service.store.forget_requests import UnknownForgetRequest
from service.store.imports import UnknownImport


@contextmanager
def known() -> Iterator[None]:
    """Around whatever looks something up by its id.  Raises ApiError."""
    try:
        yield
    except UnknownForgetRequest:
        raise ApiError(404, "There is no such forget request.", NOT_FOUND) from None
    except UnknownImport:
        raise ApiError(404, "There is no such import.", NOT_FOUND) from None
