"""Epochs: the numbered list of active policies, read whole and checked.

An accepted change makes the next epoch, which is *prepared*: replicas load it, and go on serving
the one before.  It becomes *current* in the transaction in which the last replica that may be
serving says that it is ready (service/store/replicas.py).
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from sqlalchemy import Connection, func, select, update

from guards.policy import Epoch, Policy
from models.artifact import canonical_json
from service.store.database import Database, now_ms
from service.store.schema import epochs, forget_requests, policies
from service.store.sealing import RequestSeals, Seal, SealBroken, opened
from service.store.state import ENFORCED

_ACTIVE = [state.value for state in sorted(ENFORCED)]
_CHUNK = 500  # bound variables of one statement


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the installation stands.  current: the epoch to be served; newest: that to prepare."""

    current: int
    newest: int


class EpochCorrupt(ValueError):
    """What was read is not the epoch that was written: serve nothing."""


def newest(connection: Connection) -> int:
    """The number of the newest epoch; 0 before the first change."""
    query = select(func.coalesce(func.max(epochs.c.number), 0))
    return int(connection.execute(query).scalar_one())


def current(connection: Connection) -> int:
    """The number of the epoch that is to be served; 0 before the first."""
    query = (
        select(epochs.c.number)
        .where(epochs.c.current_at.is_not(None))
        .order_by(epochs.c.number.desc())
        .limit(1)
    )
    return int(connection.execute(query).scalar_one_or_none() or 0)


def make_current(connection: Connection, number: int) -> None:
    """Have this epoch served.  Only where every replica that may be serving is ready for it."""
    connection.execute(update(epochs).where(epochs.c.number == number).values(current_at=now_ms()))


def advance(connection: Connection, seal: Seal) -> int:
    """Sign what this transaction has made active as the next epoch, to be prepared; its number."""
    number = newest(connection) + 1
    signature = _sign(seal, number, _active(connection))
    connection.execute(
        epochs.insert().values(number=number, signature=signature, created_at=now_ms())
    )
    return number


def signed_as(connection: Connection, seal: Seal, number: int) -> str:
    """What the signature of epoch ``number`` has to be for the list that stands in the tables."""
    return _sign(seal, number, _active(connection))


class Epochs:
    """Reads epochs."""

    def __init__(self, database: Database, seals: RequestSeals) -> None:
        self._database = database
        self._seals = seals
        self._seal = seals.installation

    def newest(self) -> int:
        """The newest number.  Raises StoreUnavailable."""
        with self._database.reading() as connection:
            return newest(connection)

    def standing(self) -> Standing:
        """Which epoch is to be served, and which to be prepared.  Raises StoreUnavailable."""
        with self._database.reading() as connection:
            return Standing(current(connection), newest(connection))

    def load(self, known: Mapping[str, Policy] | None = None) -> Epoch:
        """The newest epoch, its policies in the order of their requests.

        known: verified policies by digest, not read again.  Raises EpochCorrupt where a policy or
        the list is not what was written, KeyUnavailable, StoreUnavailable.
        """
        known = known or {}
        with self._database.reading() as connection:
            number = newest(connection)
            signature = connection.execute(
                select(epochs.c.signature).where(epochs.c.number == number)
            ).scalar_one_or_none()
            digests = _active(connection)
            sealed = _manifests(connection, [d for d in digests if d not in known])
            seals = self._seals.of(connection, {each.request_id for each in sealed.values()})
        if signature != (_sign(self._seal, number, digests) if number else None):
            raise EpochCorrupt("the list of policies is not the epoch's")
        return Epoch(number, tuple(known.get(d) or _open(d, sealed, seals) for d in digests))


class _Sealed(NamedTuple):
    """A policy as it is kept."""

    request_id: str
    content: bytes


def _open(digest: str, sealed: Mapping[str, _Sealed], seals: Mapping[str, Seal]) -> Policy:
    try:
        found = sealed[digest]
        content = opened(seals, found.request_id, f"policies/{digest}", found.content)
        policy = Policy.from_json(content)
    except (SealBroken, KeyError, ValueError, TypeError) as error:
        raise EpochCorrupt(digest) from error
    if policy.digest != digest:
        raise EpochCorrupt(digest)
    return policy


def _active(connection: Connection) -> list[str]:
    rows = connection.execute(
        select(forget_requests.c.policy)
        .where(forget_requests.c.state.in_(_ACTIVE), forget_requests.c.policy.is_not(None))
        .order_by(forget_requests.c.seq)
    )
    return [row.policy for row in rows]


def _manifests(connection: Connection, digests: list[str]) -> dict[str, _Sealed]:
    columns = (policies.c.digest, policies.c.forget_request, policies.c.sealed)
    found: dict[str, _Sealed] = {}
    for first in range(0, len(digests), _CHUNK):
        some = digests[first : first + _CHUNK]
        rows = connection.execute(select(*columns).where(policies.c.digest.in_(some)))
        found.update((digest, _Sealed(owner, content)) for digest, owner, content in rows)
    return found


def _sign(seal: Seal, number: int, digests: Iterable[str]) -> str:
    return seal.hash(f"epochs/{number}", canonical_json(sorted(digests)))
