"""Rotation: a new master key, under which every data key is wrapped anew while all is served."""

import time
from collections.abc import Callable

from service.store.data_keys import DataKeys
from service.store.database import Database
from service.store.key_service import FileService, KeyService, add_secret, keep_newest

PAUSE_S = 0.02  # between transactions, so that forget requests get their turn


class KeyRotation:
    """May be killed at any moment and run again: it goes on where it was.

    Every method may raise StoreUnavailable and KeyUnavailable.
    """

    def __init__(self, database: Database, keys: DataKeys) -> None:
        self._database = database
        self._keys = keys

    def standing(self) -> dict[str, int]:
        """Master key -> how many data keys it wraps; oldest first, the last one is current."""
        with self._database.reading() as connection:
            return dict(self._keys.counts(connection))

    def run(
        self,
        service: KeyService,
        *,
        new_secret: bool = False,
        progress: Callable[[int], object] = lambda _: None,
    ) -> None:
        """Make a new master key, or go on with the newest where a rotation was broken off.

        new_secret: put a new secret on top of the key file first, and remove the older ones in the
        end.  progress: called with the number of data keys wrapped anew so far.
        Raises OSError where the key file cannot be written, ValueError where there is none.
        """
        file = service if isinstance(service, FileService) else None
        if new_secret and file is None:
            raise ValueError("only a key file can be given a new secret here")
        begun = len(self.standing()) > 1
        if new_secret and file is not None and not begun and file.count() == 1:
            add_secret(file.path)
        if not begun:
            new = self._keys.new_master()
            with self._database.writing() as connection:
                self._keys.begin_rotation(connection, new)
        done = 0
        while some := self._rewrap():
            done += some
            progress(done)
            time.sleep(PAUSE_S)
        with self._database.writing() as connection:
            self._keys.end_rotation(connection)
        if new_secret and file is not None:
            keep_newest(file.path)

    def _rewrap(self) -> int:
        with self._database.writing() as connection:
            return self._keys.rewrap_some(connection)
