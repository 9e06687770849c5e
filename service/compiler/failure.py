"""Why a compilation did not work: fixed codes, and whether another try could help."""

from enum import StrEnum

from models.encoder import EncoderUnavailable
from service.compiler.step import BelowFloor


class Failure(StrEnum):
    """What the API and the metrics call it.  Nothing of an error's own text goes further."""

    BELOW_FLOOR = "below_floor"  # no policy that was tried is good enough
    MODEL_UNAVAILABLE = "model_unavailable"
    ENCODER_UNAVAILABLE = "encoder_unavailable"
    STEP_FAILED = "step_failed"
    POLICY_UNFIT = "policy_unfit"  # what came out does not enforce what was asked
    CONTENT_UNREADABLE = "content_unreadable"
    NOT_LOADABLE = "not_loadable"  # a replica refused the epoch that it came with
    CRASHED = "crashed"  # whoever worked on it died, again and again


_WAITS_FOR_OTHERS = frozenset({Failure.MODEL_UNAVAILABLE, Failure.ENCODER_UNAVAILABLE})
MOST_ATTEMPTS = 5


class PolicyUnfit(ValueError):
    """What a compilation ended with does not enforce what was asked."""


def failure_of(error: Exception) -> Failure:
    """Which it is."""
    if isinstance(error, BelowFloor):
        return Failure.BELOW_FLOOR
    if isinstance(error, PolicyUnfit):
        return Failure.POLICY_UNFIT
    if isinstance(error, EncoderUnavailable):
        return Failure.ENCODER_UNAVAILABLE
    # Files that are not there, connections that are refused: the model's, the artifacts'.
    if isinstance(error, OSError):
        return Failure.MODEL_UNAVAILABLE
    return Failure.STEP_FAILED


def measures_of(error: Exception) -> str:
    """Names of what was below the floor, if that is what it was."""
    names = error.measures if isinstance(error, BelowFloor) else ()
    return ",".join(name for name in names if name.isidentifier())[:128]


def worth_retrying(failure: Failure, attempt: int) -> bool:
    """Whether the step may work another time, begun ``attempt`` times so far."""
    if failure in _WAITS_FOR_OTHERS:
        return True
    return failure is Failure.STEP_FAILED and attempt < MOST_ATTEMPTS
