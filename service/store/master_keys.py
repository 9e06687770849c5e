"""Master keys: each wraps data keys, and is itself kept wrapped by the key service."""

import secrets
from typing import NamedTuple

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from sqlalchemy import Connection, select

from service.store.database import now_ms
from service.store.key_service import KeyService, KeyUnavailable
from service.store.key_tables import data_keys, master_keys

KEY_BYTES = 32
_NONCE_BYTES = 12


class MasterKey(NamedTuple):
    """One master key, ready for use.  id: "mk_" and 16 hex digits."""

    id: str
    cipher: AESGCM

    def wrap(self, key: bytes, owner: str) -> bytes:
        """A data key, bound to its owner."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return nonce + self.cipher.encrypt(nonce, key, owner.encode())

    def unwrap(self, wrapped: bytes, owner: str) -> bytes:
        """What ``wrap`` was given.  Raises KeyUnavailable."""
        try:
            return self.cipher.decrypt(
                wrapped[:_NONCE_BYTES], wrapped[_NONCE_BYTES:], owner.encode()
            )
        except (InvalidTag, ValueError):
            raise KeyUnavailable("a wrapped data key is damaged") from None


class NewMasterKey(NamedTuple):
    """One that is about to be stored."""

    id: str
    wrapped: bytes


class MasterKeys:
    """The master keys of a store.  Thread-safe: what is cached never changes.

    The newest wraps; older ones unwrap until a rotation has no more use for them.  Every process
    learns of a new one from its row, so that a rotation needs no restart.
    """

    def __init__(self, service: KeyService) -> None:
        self._service = service
        self._known: dict[str, MasterKey] = {}

    def current(self, connection: Connection) -> MasterKey:
        """The newest.  Raises KeyUnavailable, also where there is none."""
        row = connection.execute(
            select(master_keys.c.id, master_keys.c.wrapped)
            .order_by(master_keys.c.number.desc())
            .limit(1)
        ).one_or_none()
        if row is None:
            raise KeyUnavailable("the store has no master key")
        return self._opened(row.id, row.wrapped)

    def of(self, connection: Connection, key_id: str) -> MasterKey:
        """The one of that id.  Raises KeyUnavailable."""
        known = self._known.get(key_id)
        if known is not None:
            return known
        wrapped = connection.execute(
            select(master_keys.c.wrapped).where(master_keys.c.id == key_id)
        ).scalar_one_or_none()
        if wrapped is None:
            raise KeyUnavailable(f"the store has no master key {key_id}")
        return self._opened(key_id, wrapped)

    def ids(self, connection: Connection) -> tuple[str, ...]:
        """Every one that is kept, oldest first."""
        query = select(master_keys.c.id).order_by(master_keys.c.number)
        return tuple(connection.execute(query).scalars())

    def make(self) -> NewMasterKey:
        """A new one, not stored yet: no lock is held while the key service is asked."""
        key, key_id = secrets.token_bytes(KEY_BYTES), f"mk_{secrets.token_hex(8)}"
        wrapped = self._service.wrap(key, key_id)
        if self._service.unwrap(wrapped, key_id) != key:
            raise KeyUnavailable("the key service does not give back what it was given")
        self._known = {**self._known, key_id: MasterKey(key_id, AESGCM(key))}
        return NewMasterKey(key_id, wrapped)

    def add(self, connection: Connection, new: NewMasterKey) -> None:
        """Make it the current one, from this transaction on."""
        connection.execute(
            master_keys.insert().values(id=new.id, wrapped=new.wrapped, created_at=now_ms())
        )

    def remove_unused(self, connection: Connection) -> int:
        """Remove every one but the newest, where nothing is wrapped by it; how many are left."""
        *old, newest = self.ids(connection)
        used = set(connection.execute(select(data_keys.c.master).distinct()).scalars())
        for key_id in set(old) - used:
            connection.execute(master_keys.delete().where(master_keys.c.id == key_id))
        left = {newest, *(set(old) & used)}
        self._known = {key_id: key for key_id, key in self._known.items() if key_id in left}
        return len(left)

    def _opened(self, key_id: str, wrapped: bytes) -> MasterKey:
        known = self._known.get(key_id)
        if known is None:
            known = MasterKey(key_id, AESGCM(self._service.unwrap(wrapped, key_id)))
            self._known = {**self._known, key_id: known}
        return known
