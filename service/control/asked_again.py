"""A stored forget request as it was asked; what was erased, from what enforces it."""

from guards.policy import Policy
from service.control.forget_request import ForgetRequest, Scope
from service.store.forget_requests import ForgetRecord


def asked_of(record: ForgetRecord, policy: Policy) -> ForgetRequest:
    """What a policy is compiled from.

    Where the content was erased, only the names and texts of the policy in force are left: then it
    is compiled from those, as from a bare name.  Raises ValueError where what is kept is not what
    was once accepted.
    """
    if record.content is not None:
        return ForgetRequest.model_validate({**record.content, "strategy": record.strategy})
    return ForgetRequest(
        subject=policy.aliases[0],
        aliases=list(policy.aliases[1:]),
        examples=list(policy.examples),
        scope=Scope(tenants=sorted(policy.tenants), models=sorted(policy.models)),
    )
