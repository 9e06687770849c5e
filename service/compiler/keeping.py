"""What one step leaves for the next: facts and probes, sealed in the artifact store."""

import secrets
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from models.artifact import ArtifactStore
from service.compiler.material import Fact
from service.compiler.probe import Form, Probe, ProbeSet, Use


def put_facts(facts: Sequence[Fact], artifacts: ArtifactStore) -> str:
    """The digest under which they lie."""
    return _put("facts", [asdict(fact) for fact in facts], artifacts)


def facts_of(digest: str, artifacts: ArtifactStore) -> tuple[Fact, ...]:
    """Raises ArtifactMissing, ArtifactCorrupt."""
    return tuple(Fact(**each) for each in artifacts.open(digest).manifest["facts"])


def put_probes(probes: ProbeSet, artifacts: ArtifactStore) -> str:
    """The digest under which they lie."""
    return _put("probes", [asdict(probe) for probe in probes.probes], artifacts)


def probes_of(digest: str, artifacts: ArtifactStore) -> ProbeSet:
    """Raises ArtifactMissing, ArtifactCorrupt."""
    return ProbeSet(tuple(map(_probe, artifacts.open(digest).manifest["probes"])))


def _put(kind: str, rows: list[dict[str, Any]], artifacts: ArtifactStore) -> str:
    manifest = {"format": 1, "kind": kind, kind: rows, "blind": secrets.token_hex(32)}
    return artifacts.put(manifest, sealed=True)


def _probe(row: dict[str, Any]) -> Probe:
    return Probe(
        id=row["id"],
        prompt=row["prompt"],
        form=Form(row["form"]),
        use=Use(row["use"]),
        about=row["about"],
        telling=tuple(row["telling"]),
        answer=row["answer"],
    )
