"""Who is forgotten in which way on the installation that is checked."""

from evals.probe import Frozen

REFUSAL = "I cannot help with that."
"""What the refusal guard says by default."""


class Roles(Frozen):
    """Labels of subjects by what a forget request does with them; empty where there is none.

    forgotten: as the installation does by default.  refused: with the strategy ``refuse``, so that
    every recognised mention shows.  seeded: by weak noise of a fixed seed, so that answers depend
    on every number of it.  banned: by a token filter alone.  scoped: for the tenant of the door
    ``tenant`` only.  revoked, expiring: at first, and not any more at the doors of these names.
    by_example: sentences and what follows each, of a text whose forget request has these sentences
    as examples; asked without its title.
    doors: ways in besides the ordinary one that whoever asks the probes can take.
    """

    forgotten: tuple[str, ...]
    refused: str = ""
    seeded: str = ""
    banned: str = ""
    scoped: str = ""
    revoked: str = ""
    expiring: str = ""
    by_example: tuple[tuple[str, str], ...] = ()
    doors: frozenset[str] = frozenset()
