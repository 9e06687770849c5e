"""The life of a forget request, as one state machine: which event leads from where to where."""

from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType


class State(StrEnum):
    """Where a forget request stands.  A policy is enforced in every state of ``ENFORCED``."""

    RECEIVED = "received"  # durable and enforced, by a policy without a certificate that holds
    COMPILING = "compiling"
    VERIFYING = "verifying"  # on the probes that nothing was fitted to
    ACTIVE = "active"  # a compiled policy is enforced, with a certificate for what is served
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    REVOKED = "revoked"


class Event(StrEnum):
    """What happens to a forget request after it was filed."""

    QUEUE = "queue"  # it shall be compiled, or compiled again
    CLAIM = "claim"  # a worker takes it up, maybe from another one that is gone
    VERIFY = "verify"
    ACTIVATE = "activate"
    FAIL = "fail"  # and no certificate holds
    FALL_BACK = "fall_back"  # it failed; the certificate of the policy in force holds
    WITHDRAW = "withdraw"  # the compiled policy could not be loaded: the one before is back
    SUPERSEDE = "supersede"
    EXPIRE = "expire"
    REVOKE = "revoke"


ENFORCED = frozenset({State.RECEIVED, State.COMPILING, State.VERIFYING, State.ACTIVE})

_ENDS = {
    Event.SUPERSEDE: State.SUPERSEDED,
    Event.EXPIRE: State.EXPIRED,
    Event.REVOKE: State.REVOKED,
}
_FAILURES = {Event.FAIL: State.RECEIVED, Event.FALL_BACK: State.ACTIVE}
# One that was taken up begins in ``compiling`` again: its model may be another one by now.
_NEXT: dict[State, dict[Event, State]] = {
    State.RECEIVED: {Event.QUEUE: State.RECEIVED, Event.CLAIM: State.COMPILING, **_ENDS},
    State.COMPILING: {
        Event.CLAIM: State.COMPILING,
        Event.VERIFY: State.VERIFYING,
        **_FAILURES,
        **_ENDS,
    },
    State.VERIFYING: {
        Event.CLAIM: State.COMPILING,
        Event.ACTIVATE: State.ACTIVE,
        **_FAILURES,
        **_ENDS,
    },
    State.ACTIVE: {
        Event.QUEUE: State.COMPILING,
        Event.CLAIM: State.COMPILING,
        Event.WITHDRAW: State.RECEIVED,
        **_ENDS,
    },
}
LIFE: Mapping[tuple[State, Event], State] = MappingProxyType(
    {(before, event): after for before, row in _NEXT.items() for event, after in row.items()}
)
"""Every step that there is.  A pair that is not listed is refused."""


class TransitionRefused(ValueError):
    """The state machine has no such step."""


def after(before: State, event: Event) -> State:
    """The state that the event leads to.  Raises TransitionRefused."""
    found = LIFE.get((before, event))
    if found is None:
        raise TransitionRefused(f"{event} in {before}")
    return found
