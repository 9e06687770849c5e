"""Epochs that are loaded and not served yet."""

from service.control.loader import Loaded

MOST = 4  # they share what they have in common; those in between are not missed


class Prepared:
    """What a replica could switch to.  For one thread."""

    def __init__(self) -> None:
        self._waiting: list[Loaded] = []  # oldest first

    @property
    def newest(self) -> Loaded | None:
        """The newest, or None."""
        return self._waiting[-1] if self._waiting else None

    def add(self, loaded: Loaded) -> None:
        """One more, newer than all before.

        Of too many the second oldest is dropped: the oldest is what can be switched to first (the
        current epoch only has to reach it), the newest is what was said to be ready.
        """
        self._waiting.append(loaded)
        if len(self._waiting) > MOST:
            del self._waiting[1]

    def take(self, current: int) -> Loaded | None:
        """The newest up to ``current``, which with all before it waits no longer; or None."""
        due = [loaded for loaded in self._waiting if loaded.number <= current]
        self._waiting = self._waiting[len(due) :]
        return due[-1] if due else None

    def clear(self) -> None:
        """Drop all."""
        self._waiting.clear()
