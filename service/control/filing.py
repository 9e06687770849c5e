"""From what was asked to what is stored: checked, and with the policy that is in force at once."""

from guards.needs import Capabilities
from models.artifact import ArtifactStore
from service.control.chosen_guards import chosen_guards
from service.control.forget_request import ForgetRequest, unix_ms
from service.control.stopgap import check_enforceable, first_policy, new_id
from service.errors import CONFLICT, ApiError
from service.settings import Settings
from service.store.forget_requests import NewForgetRequest


def prepared(
    asked: ForgetRequest,
    *,
    by: str,
    idempotency: str | None,
    settings: Settings,
    artifacts: ArtifactStore,
    engine: Capabilities | None,
    corruption: str | None = None,
    imported: bool = False,
) -> NewForgetRequest:
    """What the store keeps.

    by: id of the admin key.  engine: what it can do, as far as is known.  corruption: digest of a
    stop-gap's artifact that is there already; None: one is made.
    Raises Unenforceable, ApiError (400, 503).
    """
    check_enforceable(asked)
    request_id = new_id()
    guards = chosen_guards(asked, artifacts, engine)
    policy = first_policy(request_id, asked, guards, settings, artifacts, corruption)
    return NewForgetRequest(
        id=request_id,
        content=asked.content(),
        strategy=asked.strategy,
        policy=policy,
        by=by,
        expires_at=unix_ms(asked.expires_at),
        idempotency=idempotency,
        compiled=asked.compilable,
        erase=asked.erase_content,
        supersedes=asked.supersedes,
        imported=imported,
    )


def not_in_force() -> ApiError:
    """409: what was to be superseded is not in force."""
    message = "There is no such forget request in force."
    return ApiError(409, message, CONFLICT, "supersedes", "not_in_force")
