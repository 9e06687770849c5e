"""The life of a forget request, as a state machine."""

from enum import StrEnum


class State(StrEnum):
    """Where a forget request stands.  A policy is enforced in every state of ``ENFORCED``."""

    RECEIVED = "received"  # durable; the stop-gap policy is active
    COMPILING = "compiling"
    VERIFYING = "verifying"
    ACTIVE = "active"  # the compiled policy is active
    SUPERSEDED = "superseded"
    EXPIRED = "expired"
    REVOKED = "revoked"


ENFORCED = frozenset({State.RECEIVED, State.COMPILING, State.VERIFYING, State.ACTIVE})
_ENDS = frozenset({State.SUPERSEDED, State.EXPIRED, State.REVOKED})

# A compilation that fails goes back to ``received``: the stop-gap stays in force.
TRANSITIONS: dict[State, frozenset[State]] = {
    State.RECEIVED: frozenset({State.COMPILING}) | _ENDS,
    State.COMPILING: frozenset({State.VERIFYING, State.RECEIVED}) | _ENDS,
    State.VERIFYING: frozenset({State.ACTIVE, State.RECEIVED}) | _ENDS,
    State.ACTIVE: frozenset({State.COMPILING}) | _ENDS,
    State.SUPERSEDED: frozenset(),
    State.EXPIRED: frozenset(),
    State.REVOKED: frozenset(),
}


class TransitionRefused(ValueError):
    """The state machine has no such step."""


def step(before: State, after: State) -> State:
    """``after``, where it may follow ``before``.  Raises TransitionRefused."""
    if after not in TRANSITIONS[before]:
        raise TransitionRefused(f"{before} -> {after}")
    return after
