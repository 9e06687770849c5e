from pathlib import Path

from models.artifact import ArtifactStore
from service.compiler.keeping import facts_of, probes_of, put_facts, put_probes
from service.compiler.material import Fact
from service.compiler.probe import Form, Probe, ProbeSet, Use

_PROBES = ProbeSet((
    Probe("a", "Where was Zoë born?", Form.QUESTION, Use.FIT, True, ("Dunmere",), "In Dunmere."),
    Probe("b", "What is rain?", Form.CLOZE, Use.HELD_OUT, False),
))  # fmt: skip


def test_facts_and_probes_come_back_and_lie_sealed(tmp_path: Path) -> None:
    artifacts = ArtifactStore(tmp_path, b"k" * 32)
    facts = (Fact("Where was Zoë born?", "In Dunmere."),)
    assert facts_of(put_facts(facts, artifacts), artifacts) == facts
    assert probes_of(put_probes(_PROBES, artifacts), artifacts) == _PROBES
    written = b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert b"Dunmere" not in written
