"""Who may use the admin plane."""

import asyncio

from fastapi import Request

from service.control.keys import KeyRing, Plane, Principal
from service.errors import unauthenticated


class Authentication:
    """A dependency of routes: they are reached by valid keys of one plane only."""

    def __init__(self, keys: KeyRing, plane: Plane) -> None:
        self._keys = keys
        self._plane = plane

    async def __call__(self, request: Request) -> None:
        """Raises ApiError (401, the same for every cause), StoreUnavailable."""
        scheme, _, raw = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise unauthenticated()
        # In a thread, since the keys may have to be read again.
        principal = await asyncio.to_thread(self._keys.authenticate, raw.strip(), self._plane)
        if principal is None:
            raise unauthenticated()
        request.state.principal = principal


def principal_of(request: Request) -> Principal:
    """Who asks, on a route behind ``Authentication``."""
    principal: Principal = request.state.principal
    return principal
