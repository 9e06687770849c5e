"""The store: what is durable.  One value that gives access to every table."""

from service.settings import Settings


class StoreUnavailable(RuntimeError):
    """The database did not answer.  Its own message stays inside: it may quote statements."""


class Store:
    """Forget requests, policies, epochs, replicas and API keys.  Thread-safe."""

    def close(self) -> None:
        """Close every connection."""
        raise NotImplementedError


def open_store(settings: Settings) -> Store:
    """Open the database, creating or migrating it under a lock.  Raises StoreUnavailable."""
    raise NotImplementedError
