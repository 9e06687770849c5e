"""Data keys: one for each forget request.  Destroying it makes what was sealed unreadable.

They lie beside the forget requests, or in a database of their own, which then can be left out of
the backups (docs/security.md).
"""

import secrets
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager

from sqlalchemy import Connection, delete, func, select, update

from service.store.database import Database, now_ms
from service.store.key_tables import data_keys
from service.store.master_keys import KEY_BYTES, MasterKeys, NewMasterKey

INSTALLATION = "installation"
"""Owner of the key of what belongs to no request: keyed hashes, epochs' signatures."""

REWRAP_ROWS = 200
_CHUNK = 500  # bound variables of one statement


class DataKeys:
    """Thread-safe.  Every method may raise StoreUnavailable and KeyUnavailable.

    connection: a transaction of the store; where the keys lie elsewhere, they are read and written
    in a transaction of their own.
    """

    def __init__(self, master: MasterKeys, elsewhere: Database | None = None) -> None:
        self._master = master
        self._elsewhere = elsewhere

    @property
    def elsewhere(self) -> bool:
        """Whether they lie in a database of their own."""
        return self._elsewhere is not None

    def ensure(self, connection: Connection, owner: str, key: bytes | None = None) -> bytes:
        """The owner's key, made (or ``key`` taken) where there is none."""
        with self._writing(connection) as at:
            found = self._find(at, (owner,)).get(owner)
            if found is not None:
                return found
            made = key or secrets.token_bytes(KEY_BYTES)
            current = self._master.current(at)
            at.execute(
                data_keys.insert().values(
                    owner=owner,
                    master=current.id,
                    wrapped=current.wrap(made, owner),
                    created_at=now_ms(),
                )
            )
            return made

    def find(self, connection: Connection, owners: Collection[str]) -> Mapping[str, bytes]:
        """The keys of those owners that have one."""
        if self._elsewhere is None:
            return self._find(connection, owners)
        with self._elsewhere.reading() as at:
            return self._find(at, owners)

    def destroy(self, connection: Connection, owner: str) -> None:
        """Destroy the owner's key; of one that has none nothing changes.

        With keys elsewhere nothing happens yet: were it done before the store's own transaction is
        durable, a request that goes on after all would be unreadable.  ``service/store/tidying.py``
        does it afterwards.
        """
        if self._elsewhere is None:
            connection.execute(delete(data_keys).where(data_keys.c.owner == owner))

    def destroy_now(self, owners: Iterable[str]) -> None:
        """Destroy keys that lie elsewhere."""
        if self._elsewhere is not None:
            with self._elsewhere.writing() as at:
                for owner in owners:
                    at.execute(delete(data_keys).where(data_keys.c.owner == owner))

    def owners(self, connection: Connection) -> frozenset[str]:
        """Everyone who has a key."""
        with self._reading(connection) as at:
            return frozenset(at.execute(select(data_keys.c.owner)).scalars())

    def counts(self, connection: Connection) -> Mapping[str, int]:
        """Master key -> how many keys it wraps; newest last."""
        with self._reading(connection) as at:
            total = func.count().label("total")
            grouped = select(data_keys.c.master, total).group_by(data_keys.c.master)
            found = {row.master: row.total for row in at.execute(grouped)}
            return {key_id: found.get(key_id, 0) for key_id in self._master.ids(at)}

    def new_master(self) -> NewMasterKey:
        """A new master key.  Asks the key service: not to be called in a transaction."""
        return self._master.make()

    def begin_rotation(self, connection: Connection, new: NewMasterKey) -> None:
        """Make it the current one."""
        with self._writing(connection) as at:
            self._master.add(at, new)

    def warm(self, connection: Connection) -> None:
        """Have the current master key at hand, so that no writer waits for the key service."""
        with self._reading(connection) as at:
            self._master.current(at)

    def rewrap_some(self, connection: Connection, limit: int = REWRAP_ROWS) -> int:
        """Wrap up to ``limit`` keys by the current master key; how many that were."""
        with self._writing(connection) as at:
            current = self._master.current(at)
            columns = (data_keys.c.owner, data_keys.c.master, data_keys.c.wrapped)
            old = select(*columns).where(data_keys.c.master != current.id).limit(limit)
            rows = at.execute(old).all()
            for owner, master, wrapped in rows:
                key = self._master.of(at, master).unwrap(wrapped, owner)
                at.execute(
                    update(data_keys)
                    .where(data_keys.c.owner == owner)
                    .values(master=current.id, wrapped=current.wrap(key, owner))
                )
            return len(rows)

    def end_rotation(self, connection: Connection) -> int:
        """Remove the master keys that wrap nothing any more; how many are left."""
        with self._writing(connection) as at:
            return self._master.remove_unused(at)

    def close(self) -> None:
        """Close the connections to keys elsewhere."""
        if self._elsewhere is not None:
            self._elsewhere.close()

    def _find(self, at: Connection, owners: Collection[str]) -> dict[str, bytes]:
        found: dict[str, bytes] = {}
        wanted = list(owners)
        columns = (data_keys.c.owner, data_keys.c.master, data_keys.c.wrapped)
        for first in range(0, len(wanted), _CHUNK):
            some = wanted[first : first + _CHUNK]
            for owner, master, wrapped in at.execute(
                select(*columns).where(data_keys.c.owner.in_(some))
            ):
                found[owner] = self._master.of(at, master).unwrap(wrapped, owner)
        return found

    @contextmanager
    def _reading(self, connection: Connection) -> Iterator[Connection]:
        if self._elsewhere is None:
            yield connection
            return
        with self._elsewhere.reading() as at:
            yield at

    @contextmanager
    def _writing(self, connection: Connection) -> Iterator[Connection]:
        if self._elsewhere is None:
            yield connection
            return
        with self._elsewhere.writing() as at:
            yield at
