"""Whether this process may answer: every reason why not, as fixed codes."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from service.audit import AuditLog
from service.control.replica import FenceReason, Replica
from service.gateway.trust import EngineTrust
from service.gateway.unavailable import GuardUnavailable, Reason

_OF_FENCES = {
    FenceReason.ENCODER_UNAVAILABLE: Reason.ENCODER_UNAVAILABLE,
    FenceReason.ENGINE_LACKS: Reason.ENGINE_LACKS,
}


@dataclass
class Readiness:
    """Looks at everything that must work, and at whether the process is about to end."""

    trust: EngineTrust
    replica: Replica
    audit: AuditLog
    draining: bool = False
    inflight: int = 0

    def reasons(self) -> list[Reason]:
        """Why nothing is answered now; empty when ready."""
        found = [Reason.DRAINING] if self.draining else []
        if self.trust.fault is not None:
            found.append(self.trust.fault)
        fenced = self.replica.fenced
        if fenced is not None:
            found.append(_OF_FENCES.get(fenced, Reason.REPLICA_FENCED))
        if not self.audit.healthy:
            found.append(Reason.AUDIT_UNAVAILABLE)
        return found

    def pending(self) -> list[str]:
        """Why the newest epoch is not served, while the one before still is; mostly empty."""
        refusal = self.replica.refusal
        return [] if refusal is None else [refusal.value]

    def details(self) -> list[str]:
        """Which guard of a policy the engine cannot run, and what it lacks; for an operator."""
        return [str(lack) for lack in self.replica.lacking]

    def check(self) -> None:
        """Raise GuardUnavailable unless ready.  A draining process still answers what comes."""
        for reason in self.reasons():
            if reason is not Reason.DRAINING:
                raise GuardUnavailable(reason)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """Count a request that is being answered."""
        self.inflight += 1
        try:
            yield
        finally:
            self.inflight -= 1
