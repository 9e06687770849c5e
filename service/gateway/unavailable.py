"""Why the gateway refuses to answer: a closed set, for readiness, metrics and logs."""

from enum import StrEnum


class Reason(StrEnum):
    """Fixed codes; clients see none of them but on ``/health/ready``."""

    STARTING = "starting"
    DRAINING = "draining"
    ENGINE_UNREACHABLE = "engine_unreachable"
    ENGINE_UNATTESTED = "engine_unattested"
    ENGINE_REFUSED = "engine_refused"
    CANARY_FAILED = "canary_failed"
    CAPABILITIES_UNKNOWN = "capabilities_unknown"
    ENGINE_LACKS = "engine_lacks"
    ENCODER_UNAVAILABLE = "encoder_unavailable"
    REPLICA_FENCED = "replica_fenced"
    AUDIT_UNAVAILABLE = "audit_unavailable"
    KEYS_UNAVAILABLE = "keys_unavailable"
    GUARD_FAILED = "guard_failed"


class GuardUnavailable(Exception):
    """Something that must stand between model and client does not.  Answer 503."""

    def __init__(self, reason: Reason) -> None:
        super().__init__(reason.value)
        self.reason = reason


class UpstreamFailed(GuardUnavailable):
    """The engine is gone, stalled, or talks nonsense."""

    def __init__(self, reason: Reason = Reason.ENGINE_UNREACHABLE) -> None:
        super().__init__(reason)
