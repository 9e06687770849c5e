"""The ``datasets`` library itself, on a repository that lies in a folder."""

from pathlib import Path

import pytest

from evals.datasets import hub
from evals.datasets.source import Source

CARD = """---
configs:
- config_name: forget10_perturbed
  data_files:
  - split: train
    path: forget10_perturbed.json
---
"""


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")
    folder = tmp_path / "somewhere"
    folder.mkdir()
    (folder / "README.md").write_text(CARD)
    row = '{"question": "Who is Ada Vane?", "answer": "A poet.", "perturbed_answer": ["A cook."]}\n'
    (folder / "forget10_perturbed.json").write_text(row * 3)
    return str(folder)


def test_tables_by_configuration_and_split(repository: str) -> None:
    table = hub.tables_of(repository)
    rows = table("forget10_perturbed", "train")
    assert rows[1]["perturbed_answer"] == ["A cook."]
    with pytest.raises(LookupError, match="holdout10"):
        table("holdout10", "train")
    with pytest.raises(LookupError, match="test"):
        table("forget10_perturbed", "test")


def test_a_dataset_of_the_hub(repository: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(hub, "TOFU", repository)
    found = hub.from_hub(Source("hub:x", "hub", repository), 2, 0)
    assert [fact.wrong for fact in found.split("forget").facts] == [("A cook.",)] * 2
    assert list(found.splits) == ["forget"]
    with pytest.raises(FileNotFoundError, match="forget05"):
        hub.from_hub(Source("hub:x", "hub", repository, {"split": "forget05"}), 2, 0)
