"""The store: everything that is durable, as one value."""

from service.settings import Settings, read_secret
from service.store.api_keys import ApiKeys
from service.store.changes import Changes, follow
from service.store.database import Database, StoreUnavailable, open_database
from service.store.epochs import Epochs
from service.store.forget_requests import ForgetRequests
from service.store.migration import migrate
from service.store.replicas import Replicas
from service.store.sealing import Seal

__all__ = ["Store", "StoreUnavailable", "open_store"]


class Store:
    """Forget requests, policies, epochs, replicas and API keys.  Thread-safe."""

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self.forget_requests = ForgetRequests(database, seal)
        self.epochs = Epochs(database, seal)
        self.replicas = Replicas(database)
        self.api_keys = ApiKeys(database)

    def changes(self) -> Changes:
        """A new watch for changes, for one thread.  Raises StoreUnavailable."""
        return follow(self._database)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()


def open_store(settings: Settings) -> Store:
    """Open the database, creating or migrating it under a lock.

    Raises StoreUnavailable, or ValueError for a URL or a ``store.key`` that cannot be used.
    """
    seal = Seal(read_secret(settings.data_dir / "store.key"))
    database = open_database(settings.database)
    migrate(database)
    return Store(database, seal)
