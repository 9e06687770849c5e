"""What the running engine can do, once it has said so: known to everything in this process."""

from guards.needs import Capabilities


class EngineAbilities:
    """Set by whoever asks the engine, read by whoever decides what it is asked to do.

    Safe from several threads: one reference, replaced whole.
    """

    def __init__(self, known: Capabilities | None = None) -> None:
        self._known = known

    @property
    def known(self) -> Capabilities | None:
        """None until an engine was reached."""
        return self._known

    def learn(self, found: Capabilities) -> None:
        """What an engine said, before it is trusted with anything."""
        self._known = found
