"""Why a replica serves nothing, or not the newest epoch."""

from enum import StrEnum


class FenceReason(StrEnum):
    """Fixed codes, fit for metric labels and readiness answers."""

    STARTING = "starting"
    LEASE_LOST = "lease_lost"
    BEHIND = "behind"
    STORE_UNAVAILABLE = "store_unavailable"
    STORE_WENT_BACK = "store_went_back"
    POLICY_CORRUPT = "policy_corrupt"
    KEY_UNAVAILABLE = "key_unavailable"
    ARTIFACT_CORRUPT = "artifact_corrupt"
    ENCODER_UNAVAILABLE = "encoder_unavailable"
    BUILD_FAILED = "build_failed"
    ENGINE_LACKS = "engine_lacks"
    STOPPED = "stopped"


class ReplicaFenced(RuntimeError):
    """This replica must not serve: it may not know the newest epoch.  Answer 503."""

    def __init__(self, reason: FenceReason) -> None:
        super().__init__(reason.value)
        self.reason = reason
