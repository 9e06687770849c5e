import json
from pathlib import Path

import pytest

from models.artifact import Artifact, ArtifactStore
from service.compiler.certificate import Certificate, Measures, Rate
from service.compiler.signing import (
    InvalidCertificate,
    public_key,
    signing_key,
    store,
    verify,
)

_RATE = Rate(found=0, of=60, upper=0.0487)


def _certificate() -> Certificate:
    measures = Measures(
        leaks=_RATE,
        changed=_RATE,
        unmatched=_RATE,
        matched=_RATE,
        distance=0.1,
        p_value=0.4,
        fluency=-0.2,
        cost=1.1,
    )
    return Certificate(
        policy="sha256:" + "1" * 64,
        model="sha256:" + "2" * 64,
        versions={"numpy": "2"},
        seed=5,
        held_out=measures,
        made_at=1,
        seconds=2.5,
    )


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts", b"k" * 32)


def test_a_certificate_comes_back_as_it_was_signed(
    tmp_path: Path, artifacts: ArtifactStore
) -> None:
    key = signing_key(tmp_path)
    digest = store(_certificate(), key, artifacts)
    public = (tmp_path / "certificate.pub").read_text().strip()
    assert public == public_key(signing_key(tmp_path))
    assert verify(artifacts.open(digest), public) == _certificate()


def test_it_lies_sealed_and_its_digest_differs_each_time(
    tmp_path: Path, artifacts: ArtifactStore
) -> None:
    key = signing_key(tmp_path)
    first, second = (store(_certificate(), key, artifacts) for _ in range(2))
    assert first != second
    files = [path for path in artifacts.root.rglob("*") if path.is_file()]
    assert {path.suffix for path in files} == {".sealed"}


def test_a_change_or_another_key_is_found(tmp_path: Path, artifacts: ArtifactStore) -> None:
    key = signing_key(tmp_path)
    public = public_key(key)
    artifact = artifacts.open(store(_certificate(), key, artifacts))
    changed = json.loads(json.dumps(dict(artifact.manifest)))
    changed["certificate"]["held_out"]["leaks"]["upper"] = 0.001
    with pytest.raises(InvalidCertificate):
        verify(Artifact(artifact.digest, changed, {}), public)
    with pytest.raises(InvalidCertificate):
        verify(artifact, public_key(signing_key(tmp_path / "other")))
    with pytest.raises(InvalidCertificate):
        verify(Artifact(artifact.digest, {**artifact.manifest, "signature": "x"}, {}), public)
    with pytest.raises(InvalidCertificate):
        verify(Artifact(artifact.digest, {"format": 1}, {}), public)
