"""Which artifacts policies name, so that those of ended requests can be deleted."""

import re
from typing import Any

from sqlalchemy import Connection, select, update

from guards.policy import Policy
from models.artifact import canonical_json
from service.store.key_tables import named_artifacts

_DIGEST = re.compile(rb"sha256:[0-9a-f]{64}")


def digests_in(policy: Policy) -> frozenset[str]:
    """Every digest that stands anywhere in the policy."""
    return digests_in_json(policy.to_json())


def digests_in_json(value: Any) -> frozenset[str]:
    """Every digest that stands anywhere in a JSON value."""
    return frozenset(found.decode() for found in _DIGEST.findall(canonical_json(value)))


def name_artifacts(connection: Connection, policy: Policy) -> None:
    """Note what a policy names, in the transaction that stores it; again changes nothing."""
    there = named_artifacts.c.policy == policy.digest
    known = set(connection.execute(select(named_artifacts.c.artifact).where(there)).scalars())
    new = sorted(digests_in(policy) - known)
    if new:
        connection.execute(
            named_artifacts.insert(),
            [
                {
                    "policy": policy.digest,
                    "artifact": artifact,
                    "forget_request": policy.forget_request,
                }
                for artifact in new
            ],
        )
    if known:
        connection.execute(update(named_artifacts).where(there).values(dropped_epoch=None))


def drop_artifacts(
    connection: Connection, request_id: str, epoch: int, *, keep: str | None = None
) -> None:
    """Note that from this epoch on a request's policies are not in force any longer.

    keep: digest of the one policy that still is.  What no policy in force names is deleted after a
    while (service/store/artifact_collector.py).
    """
    c = named_artifacts.c
    ended = update(named_artifacts).where(c.forget_request == request_id, c.dropped_epoch.is_(None))
    if keep is not None:
        ended = ended.where(c.policy != keep)
    connection.execute(ended.values(dropped_epoch=epoch))


def drop_unused(connection: Connection, request_id: str, digests: list[str], epoch: int) -> None:
    """Have artifacts deleted that were made for a request and that no policy came to name."""
    for digest in dict.fromkeys(digests):
        key = (named_artifacts.c.policy == digest) & (named_artifacts.c.artifact == digest)
        if connection.execute(select(named_artifacts.c.policy).where(key)).first() is None:
            connection.execute(
                named_artifacts.insert().values(
                    policy=digest,  # no policy: the row stands for itself
                    artifact=digest,
                    forget_request=request_id,
                    dropped_epoch=epoch,
                )
            )
