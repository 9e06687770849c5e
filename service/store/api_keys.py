"""API keys as they are kept: keyed hashes and what they are good for."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, select, update

from service.store.admin_acts import last_act, record_act
from service.store.database import Database, now_ms
from service.store.schema import api_keys


class UnknownApiKey(LookupError):
    """There is none of that id."""


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """One key.  mac: HMAC-SHA-256 of the whole key.  Times in Unix ms."""

    id: str
    mac: bytes
    plane: str
    tenant: str
    created_at: int
    expires_at: int | None = None
    revoked_at: int | None = None
    last_used_at: int | None = None

    def valid_at(self, now: int) -> bool:
        """Whether it opens anything at that time."""
        return self.revoked_at is None and (self.expires_at is None or now < self.expires_at)


class ApiKeys:
    """The API keys.  Every method may raise StoreUnavailable."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, record: KeyRecord, by: str, *, keep: bool = False) -> None:
        """Store a new key.  keep: leave one of the same id as it is, instead of failing."""
        with self._database.writing() as connection:
            if keep and _found(connection, record.id) is not None:
                return
            connection.execute(
                api_keys.insert().values(
                    id=record.id,
                    mac=record.mac,
                    plane=record.plane,
                    tenant=record.tenant,
                    created_at=record.created_at,
                    expires_at=record.expires_at,
                )
            )
            record_act(connection, by, "create_key", record.id)

    def revoke(self, key_id: str, by: str) -> KeyRecord:
        """End a key; again changes nothing.  Raises UnknownApiKey."""
        with self._database.writing() as connection:
            row = _found(connection, key_id)
            if row is None:
                raise UnknownApiKey(key_id)
            if row.revoked_at is None:
                connection.execute(
                    update(api_keys).where(api_keys.c.id == key_id).values(revoked_at=now_ms())
                )
                record_act(connection, by, "revoke_key", key_id)
            return _record(_found(connection, key_id) or row)

    def all(self) -> tuple[KeyRecord, ...]:
        """Every key, revoked ones too, oldest first."""
        with self._database.reading() as connection:
            query = select(api_keys).order_by(api_keys.c.created_at, api_keys.c.id)
            return tuple(_record(row) for row in connection.execute(query))

    def version(self) -> int:
        """A number that grows when a key is made or revoked (and with other admin acts)."""
        with self._database.reading() as connection:
            return last_act(connection)

    def note_use(self, last_used: Mapping[str, int]) -> None:
        """Keep when keys were last used.  last_used: key id -> Unix ms."""
        with self._database.writing() as connection:
            for key_id, at in last_used.items():
                connection.execute(
                    update(api_keys).where(api_keys.c.id == key_id).values(last_used_at=at)
                )


def _found(connection: Connection, key_id: str) -> Row[Any] | None:
    return connection.execute(select(api_keys).where(api_keys.c.id == key_id)).one_or_none()


def _record(row: Row[Any]) -> KeyRecord:
    return KeyRecord(
        id=row.id,
        mac=row.mac,
        plane=row.plane,
        tenant=row.tenant,
        created_at=row.created_at,
        expires_at=row.expires_at,
        revoked_at=row.revoked_at,
        last_used_at=row.last_used_at,
    )
