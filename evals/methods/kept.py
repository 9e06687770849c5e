"""Fits that are done once and kept in a folder, by what they were made of."""

import hashlib
import json
import time
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from evals.methods.ground import Ground
from evals.methods.material import Material
from evals.methods.method import Method, Requests
from evals.methods.registry import method_named
from evals.probe import Frozen
from guards.policy import GuardSpec
from models.artifact import ArtifactStore, canonical_json
from service.settings import read_secret

FORMAT = 1
"""To be raised when a fit comes out otherwise with the same settings."""


class KeptGuard(Frozen):
    """A guard of a forget request."""

    kind: str
    options: dict[str, Any]


class Fit(Frozen):
    """What became of one method on one ground: a file of the folder, ``<name>-<key>.json``.

    key: SHA-256 over whatever the fit depends on.  seconds: of processor time, with those of
    methods that it is made of and that were not kept yet.  requests: as
    ``evals.methods.method.Requests``.  artifacts: digests.
    """

    method: str
    ground: str
    key: str
    source: str
    settings: dict[str, Any]
    seconds: float
    requests: dict[str, tuple[KeptGuard, ...] | None]
    artifacts: tuple[str, ...]


class Kept:
    """A folder of fits.  Artifacts that tell names are sealed under a key that lies there too."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self.store = ArtifactStore(folder / "artifacts", read_secret(folder / "fits.key"))
        self._material: dict[str, Material] = {}

    def fitted(self, name: str, ground: Ground) -> Fit:
        """The method's fit; done now where it is not there.  Raises KeyError: no such method."""
        method = method_named(name)
        key = _key(name, method, ground)
        path = self._folder / f"{name}-{key[:16]}.json"
        if path.exists():
            return Fit.model_validate_json(path.read_bytes())
        material = self._material_of(ground)
        before, begin = len(material.put_there), time.process_time()
        requests = method.requests(material)
        fit = Fit(
            method=name,
            ground=ground.name,
            key=key,
            source=method.source,
            settings=dict(method.settings),
            seconds=round(time.process_time() - begin, 2),
            requests=_plain(requests),
            artifacts=_named_in(requests) or tuple(material.put_there[before:]),
        )
        path.write_text(fit.model_dump_json(indent=2) + "\n", encoding="utf-8")
        return fit

    def carry(self, fit: Fit, to: ArtifactStore) -> None:
        """Put the fit's artifacts into another store, sealed there under its own key."""
        for digest in fit.artifacts:
            artifact = self.store.open(digest)
            manifest = {key: value for key, value in artifact.manifest.items() if key != "tensors"}
            to.put(manifest, artifact.tensors, sealed="blind" in manifest)

    def _material_of(self, ground: Ground) -> Material:
        # One for all methods, so that the model is loaded once.
        key = _ground_key(ground)
        if key not in self._material:
            self._material[key] = Material(
                ground, self.store, lambda name: self.fitted(name, ground)
            )
        return self._material[key]


def specs(guards: tuple[KeptGuard, ...]) -> tuple[GuardSpec, ...]:
    """The guards as a policy has them."""
    return tuple(GuardSpec(guard.kind, guard.options) for guard in guards)


def _plain(requests: Requests) -> dict[str, tuple[KeptGuard, ...] | None]:
    return {
        label: None
        if guards is None
        else tuple(KeptGuard(kind=g.kind, options=dict(g.options)) for g in guards)
        for label, guards in requests.items()
    }


def _named_in(requests: Requests) -> tuple[str, ...]:
    found = {
        str(guard.options["artifact"]): None
        for guards in requests.values()
        for guard in guards or ()
        if "artifact" in guard.options
    }
    return tuple(found)


def _key(name: str, method: Method, ground: Ground) -> str:
    made_of = {
        "format": FORMAT,
        "method": name,
        "settings": _as_json(method.settings),
        "ground": _ground_key(ground),
    }
    return hashlib.sha256(canonical_json(made_of)).hexdigest()


def _ground_key(ground: Ground) -> str:
    knowledge = ground.knowledge
    fitted_to = {
        "model": _model_digest(ground.model),
        "subjects": {name: each.aliases for name, each in sorted(knowledge.subjects.items())},
        "forgotten": knowledge.forgotten,
        "rows": {
            split: [(f.subject, f.question, f.answer) for f in knowledge.split(split).facts]
            for split in ("forget", "retain")
        },
    }
    return hashlib.sha256(canonical_json(_as_json(fitted_to))).hexdigest()


@lru_cache
def _model_digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in sorted(folder.glob("*.safetensors")) + sorted(folder.glob("*.json")):
        digest.update(file.name.encode() + b"\0" + file.read_bytes())
    return digest.hexdigest()


def _as_json(value: Mapping[str, Any]) -> Any:
    return json.loads(json.dumps(value))
