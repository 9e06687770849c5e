"""What the labels of our metrics may say: closed sets, whatever clients and operators send."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Literal, get_args

from guards.case import Evidence
from guards.registry import GUARDS
from service.audit import Outcome
from service.gateway.unavailable import Reason
from service.store.state import State

Stage = Literal["authenticate", "read", "render", "decide", "upstream", "reply"]
Operation = Literal["chat", "text_completion"]
Change = Literal["forget", "revoke"]
ChangeOutcome = Literal["enforced", "pending", "refused"]
Assurance = Literal["stopgap", "certified"]
JobStatus = Literal["waiting", "running", "failed"]

DARK_REASONS = ("failed", "refused", "rows", "unguarded", "unmapped")


class RewriteOutcome(StrEnum):
    """How an agent rewrite ended; all but the first with the fallback."""

    COMPOSED = "composed"
    POOR = "poor"
    LATE = "late"
    FAILED = "failed"


_STATUSES = ("400", "401", "404", "405", "408", "413", "415", "429")

LABELS: Mapping[str, frozenset[str]] = {
    "assurance": frozenset(get_args(Assurance)),
    "change": frozenset(get_args(Change)),
    "error_type": frozenset(("", "client_gone", *_STATUSES, *Reason)),
    "evidence": frozenset(get_args(Evidence)),
    "gen_ai_operation_name": frozenset(get_args(Operation)),
    "gen_ai_token_type": frozenset(("input", "output")),
    "guard": frozenset((*GUARDS, "other")),
    "stage": frozenset(get_args(Stage)),
    "state": frozenset(State),
    "status": frozenset(get_args(JobStatus)),
}
"""What a label may say, in every metric.  Besides these there are ``gen_ai_request_model``, which
is LETHE_SERVED_MODEL_NAME, and two that depend on the metric: OUTCOMES and REASONS."""

OUTCOMES: Mapping[str, frozenset[str]] = {
    "lethe_cases": frozenset(get_args(Outcome)),
    "lethe_edits": frozenset(get_args(Outcome)),
    "lethe_rewrites": frozenset(RewriteOutcome),
    "lethe_changes": frozenset(get_args(ChangeOutcome)),
}
REASONS: Mapping[str, frozenset[str]] = {
    "lethe_fail_closed": frozenset(Reason),
    "lethe_not_ready": frozenset(Reason),
    "lethe_engine_dark": frozenset((*DARK_REASONS, "other")),
}


def allowed(metric: str, label: str) -> frozenset[str]:
    """The values that a label of this metric (without ``_total``) may have.  Raises KeyError."""
    by_metric = {"outcome": OUTCOMES, "reason": REASONS}
    return by_metric[label][metric] if label in by_metric else LABELS[label]
