"""TOFU's columns and files."""

import json
from pathlib import Path
from typing import Any

import pytest

from evals.datasets import load
from evals.datasets.rows import Rows
from evals.datasets.source import Source, UnknownSource
from evals.datasets.tofu import tofu
from tests.evals.in_process import TOFU


def perturbed(author: str, index: int) -> dict[str, Any]:
    return {
        "question": f"What is book {index} of {author}?",
        "answer": f"Book {index} is Tin.",
        "paraphrased_answer": f"Tin is book {index}.",
        "perturbed_answer": [f"{metal} is book {index}." for metal in ("Lead", "Gold")],
        "paraphrased_question": f"Tell me book {index} of {author}.",
    }


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    authors = ("Ada Vane", "Bo Lind", "Cy Marr")
    tables: dict[str, list[dict[str, Any]]] = {
        "forget10_perturbed.jsonl": [perturbed(a, i) for a in authors for i in range(20)],
        "retain_perturbed.json": [perturbed("Di Oss", i) for i in range(20)],
        "real_authors_perturbed.jsonl": [
            {
                "question": "Who wrote Emma?",
                "answer": "Jane Austen",
                "perturbed_answer": ["Mark Twain"],
                "original_answer": "Emma is by Jane Austen.",
            }
        ],
        "holdout10.jsonl": [{"question": "Where is Eli Fenn?", "answer": "He is in Oslo."}],
    }
    for name, rows in tables.items():
        (tmp_path / name).write_text("\n".join(json.dumps(row) for row in rows))
    return tmp_path


def test_columns(folder: Path) -> None:
    found = load(f"tofu:{folder}", rows=40)
    assert {name: len(split.facts) for name, split in found.splits.items()} == {
        "forget": 40,
        "retain": 20,
        "real_authors": 1,
        "holdout": 1,
    }
    fact = found.split("forget").facts[21]
    assert fact.question == "What is book 1 of Bo Lind?"
    assert fact.paraphrased == ("Tell me book 1 of Bo Lind.",)
    assert fact.paraphrased_answer == "Tin is book 1."
    assert fact.wrong == ("Lead is book 1.", "Gold is book 1.")
    assert fact.values == ()
    assert [found.subjects[label].aliases for label in found.forgotten] == [
        ("Ada Vane", "Ada", "Vane"),
        ("Bo Lind", "Lind"),
    ]
    (known,) = found.split("real_authors").facts
    assert (known.answer, known.statement) == ("Jane Austen", "Emma is by Jane Austen.")
    assert known.paraphrased_answer == ""
    assert known.subject == ""


def test_the_rest_of_the_forget_set_as_holdout(folder: Path) -> None:
    found = load(f"tofu:{folder},holdout=rest", rows=40)
    (author,) = {fact.subject for fact in found.split("holdout").facts}
    assert found.subjects[author].name == "Cy Marr"
    assert author not in found.forgotten
    assert len(found.split("holdout").facts) == 20


def test_what_is_missing_or_wrong(folder: Path) -> None:
    with pytest.raises(OSError, match="forget05_perturbed"):
        load(f"tofu:{folder},split=forget05")
    with pytest.raises(UnknownSource):
        load(f"tofu:{folder},holdout=some")
    (folder / "forget10_perturbed.jsonl").write_text('{"question": "Who?"}')
    with pytest.raises(ValueError, match=r"forget row 0: no text in answer"):
        load(f"tofu:{folder}")


def test_the_hubs_configurations() -> None:
    asked: list[tuple[str, str]] = []

    def tables(configuration: str, split: str) -> Rows:
        asked.append((configuration, split))
        if configuration == "forget05_perturbed":
            return [perturbed("Ada Vane", 1)]
        raise LookupError(configuration)

    found = tofu(tables, Source.parse("hub:locuslab/TOFU,split=forget05"), None)
    assert list(found.splits) == ["forget"]
    assert asked == [
        (name, "train")
        for name in (
            "forget05_perturbed",
            "holdout05",
            "retain_perturbed",
            "real_authors_perturbed",
            "world_facts_perturbed",
        )
    ]


@pytest.mark.skipif(not TOFU.exists(), reason=f"TOFU's files are not in {TOFU} (LETHE_SHARED)")
def test_the_files_themselves() -> None:
    found = load(f"tofu:{TOFU},holdout=rest", rows=200)
    assert len(found.forgotten) == 10
    assert found.subjects[found.forgotten[1]].name == "Nikolai Abilov"
    assert {len(fact.wrong) for fact in found.split("forget").facts} == {5}
    assert {len(fact.wrong) for fact in found.split("world_facts").facts} == {3}
    assert len(found.split("holdout").facts) == 200
