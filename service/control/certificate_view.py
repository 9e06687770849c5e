"""A certificate as the API shows it."""

from typing import Any, Literal

from pydantic import BaseModel

from service.store.forget_requests import ForgetRecord
from service.store.store import Store


class CertificateView(BaseModel):
    """A certificate and whether it holds.

    holds: whether it was made for what is served now, as far as a compiler has looked since.
    artifact: digest of the signed certificate in the artifact store.
    """

    object: Literal["certificate"] = "certificate"
    forget_request: str
    policy: str
    artifact: str | None
    holds: bool
    certificate: dict[str, Any]


def certificate_view(store: Store, record: ForgetRecord) -> CertificateView | None:
    """Of the policy in force; None where it has none.  Raises StoreUnavailable."""
    if record.policy is None:
        return None
    found = store.certificates.of_policies([record.policy])
    if record.policy not in found:
        return None
    kept = found[record.policy]
    return CertificateView(
        forget_request=record.id,
        policy=record.policy,
        artifact=kept.get("artifact"),
        holds=record.certified_for is not None,
        certificate=kept["certificate"],
    )
