"""Certificates of policies.  They outlive the policies: they quote nothing of a request."""

from collections.abc import Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, delete, select

from guards.policy import Policy
from service.store.database import Database, now_ms
from service.store.schema import certificates
from service.store.sealing import Seal

_CHUNK = 500  # bound variables of one statement


def put_certificate(
    connection: Connection, seal: Seal, policy: Policy, certificate: Mapping[str, Any]
) -> None:
    """Store the certificate of a policy, in the place of one that it had."""
    digest = policy.digest
    connection.execute(delete(certificates).where(certificates.c.policy == digest))
    connection.execute(
        certificates.insert().values(
            policy=digest,
            forget_request=policy.forget_request,
            sealed=seal.close(_place(digest), certificate),
            created_at=now_ms(),
        )
    )


class Certificates:
    """Reads them.  Every method may raise StoreUnavailable, SealBroken."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    def of_policies(self, digests: Iterable[str]) -> dict[str, dict[str, Any]]:
        """By the policy's digest; policies without one are left out."""
        wanted = list(digests)
        found: dict[str, dict[str, Any]] = {}
        with self._database.reading() as connection:
            for first in range(0, len(wanted), _CHUNK):
                same = certificates.c.policy.in_(wanted[first : first + _CHUNK])
                for row in connection.execute(select(certificates).where(same)):
                    found[row.policy] = self._seal.open(_place(row.policy), row.sealed)
        return found

    def of_request(self, request_id: str) -> tuple[tuple[str, dict[str, Any]], ...]:
        """Every one that the request ever had, oldest first, with its policy's digest."""
        query = (
            select(certificates)
            .where(certificates.c.forget_request == request_id)
            .order_by(certificates.c.created_at)
        )
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        return tuple((r.policy, self._seal.open(_place(r.policy), r.sealed)) for r in rows)


def _place(policy_digest: str) -> str:
    return f"certificates/{policy_digest}"
