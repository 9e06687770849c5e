"""Whether everything that a policy names is there, and is what it was."""

from collections.abc import Iterable, Iterator

from guards.policy import Policy
from models.artifact import ArtifactStore


class ArtifactCheck:
    """Opens each artifact that policies name, which checks its digest, and keeps nothing of it."""

    def __init__(self, artifacts: ArtifactStore) -> None:
        self._artifacts = artifacts

    def __call__(self, policies: Iterable[Policy]) -> None:
        """Raises ArtifactMissing, ArtifactCorrupt, or OSError where they cannot be read."""
        for digest in dict.fromkeys(_named(policies)):
            self._artifacts.open(digest)


def _named(policies: Iterable[Policy]) -> Iterator[str]:
    for policy in policies:
        for spec in policy.guards:
            if digest := spec.options.get("artifact"):
                yield digest
        yield from filter(None, (policy.detector, policy.certificate))
