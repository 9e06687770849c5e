"""Faults in which policies are in force, when, and for whom."""

import time
from collections.abc import Callable
from typing import Any

from evals.faults.fault import Fault, instead, swap


class _OfLifeCycle(Fault):
    LAYER = "P"


class EpochNeverRefreshed(_OfLifeCycle):
    """See BROKEN."""

    NAME = "epoch-never-refreshed"
    BROKEN = "a gateway serves for ever the policies that it found at its start"

    def install(self) -> None:
        instead("service.control.loader:Loader.result", _first_only())
        instead("service.control.activation:Activation.everywhere", _at_once)


class RevocationIgnored(_OfLifeCycle):
    """See BROKEN."""

    NAME = "revocation-ignored"
    BROKEN = "policies come into force and never leave it"

    def install(self) -> None:
        def keeping(build: Any) -> Any:
            kept: dict[str, Any] = {}

            def wrong(cls: Any, epoch: Any, *given: Any) -> Any:
                from dataclasses import replace

                if not epoch.number:  # not an epoch, but a look at whether a name can be found
                    return build.__func__(cls, epoch, *given)
                kept.update((policy.digest, policy) for policy in epoch.policies)
                return build.__func__(cls, replace(epoch, policies=tuple(kept.values())), *given)

            return classmethod(wrong)

        swap("guards.rules:Rules.build", keeping)


class ExpiryIgnored(_OfLifeCycle):
    """See BROKEN."""

    NAME = "expiry-ignored"
    BROKEN = "requests that are over stay in force"

    def install(self) -> None:
        instead("service.store.forget_requests:ForgetRequests.expire_due", lambda _self, _now: ())


class ExpiredAtOnce(_OfLifeCycle):
    """See BROKEN."""

    NAME = "expires-early"
    BROKEN = "requests with an expiry are taken to be over at once"

    def install(self) -> None:
        swap(
            "service.store.forget_requests:ForgetRequests.expire_due",
            lambda due: lambda requests, now: due(requests, now + 3_600_000),
        )


class ScopeIgnored(_OfLifeCycle):
    """See BROKEN."""

    NAME = "tenant-scope-ignored"
    BROKEN = "what one tenant wants forgotten is forgotten for all"

    def install(self) -> None:
        instead("guards.policy:Policy.applies_to", lambda _policy, _tenant, _model: True)
        instead("guards.phrase_index:covers", lambda _scope, _tenant, _model: True)


class ScopedNeverApplied(_OfLifeCycle):
    """See BROKEN."""

    NAME = "tenant-mistaken"
    BROKEN = "every request is taken to be the default tenant's"

    def install(self) -> None:
        def default(authenticate: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(ring: Any, raw: str, plane: str) -> Any:
                from dataclasses import replace

                found = authenticate(ring, raw, plane)
                return found and replace(found, tenant="default") if plane == "data" else found

            return wrong

        swap("service.control.keys:KeyRing.authenticate", default)


class ConfirmedTooEarly(_OfLifeCycle):
    """See BROKEN."""

    NAME = "confirmed-too-early"
    BROKEN = "a forget request is confirmed before the gateways enforce it"

    def install(self) -> None:
        instead("service.control.activation:Activation.everywhere", _at_once)

        def late(load: Callable[..., Any]) -> Callable[..., Any]:
            def wrong(loader: Any, previous: Any) -> Any:
                if previous is not None:
                    time.sleep(1.0)
                return load(loader, previous)

            return wrong

        swap("service.control.loader:Loader._load", late)


class KeysUnchecked(_OfLifeCycle):
    """See BROKEN."""

    NAME = "keys-unchecked"
    BROKEN = "whoever asks is answered, with or without a key"

    def install(self) -> None:
        def anybody(_: Any) -> Callable[[Any], Any]:
            from service.gateway.data_plane import NOBODY

            return lambda _answering: NOBODY

        swap("service.gateway.data_plane:Answering._authenticated", anybody)


async def _at_once(_activation: Any, _epoch: int) -> None:
    return None


def _first_only() -> Callable[..., Any]:
    from service.control.loader import Loader

    result = Loader.result
    loaded: list[Any] = []

    def wrong(loader: Any, now: float) -> Any:
        found = result(loader, now)
        if found is None:
            return None
        loaded.append(found)
        return loaded[0]

    return wrong
