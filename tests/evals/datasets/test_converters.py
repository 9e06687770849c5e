"""Converters of plain files and of the hub's datasets, on rows in the original columns."""

import json
from pathlib import Path

import pytest

from evals.datasets import load
from evals.datasets.muse import muse
from evals.datasets.rows import Row, Rows, Tables
from evals.datasets.rwku import rwku
from evals.datasets.source import Source, UnknownSource
from evals.datasets.wmdp import wmdp


def tables(found: dict[tuple[str, str], list[Row]]) -> Tables:
    def table(configuration: str, split: str) -> Rows:
        return found[configuration, split]

    return table


def test_jsonl(tmp_path: Path) -> None:
    file = tmp_path / "rows.jsonl"
    rows = [
        {"question": "Who?", "answer": "Ada.", "subject": "Ada Vane", "values": "Ada"},
        {"question": "Where?", "answer": "Oslo.", "split": "retain", "subject": "Bo Lind"},
        {"question": "When?", "answer": "Now.", "perturbed_answer": ["Then."], "aliases": ["A."],
         "subject": "Ada Vane", "paraphrased_question": "At what time?"},
        {"text": "A page."},
    ]  # fmt: skip
    file.write_text("\n".join(json.dumps(row) for row in rows))
    found = load(f"jsonl:{file}")
    first, second = found.split("forget").facts
    assert first.values == ("Ada",)
    assert second.wrong == ("Then.",)
    assert second.paraphrased == ("At what time?",)
    assert found.split("forget").passages == ("A page.",)
    assert found.forgotten == (first.subject,)
    assert found.subjects[first.subject].aliases == ("Ada Vane", "A.")
    assert found.subjects[found.split("retain").facts[0].subject].name == "Bo Lind"
    assert list(load(f"jsonl:{file},split=holdout").splits) == ["holdout", "retain"]
    file.write_text('{"question": "Who?"}')
    with pytest.raises(ValueError, match="row 1: no text in answer"):
        load(f"jsonl:{file}")


def muse_tables(*, folds: bool) -> Tables:
    found: dict[tuple[str, str], list[Row]] = {
        ("knowmem", name): [{"question": f"{name}?", "answer": "Yes."}]
        for name in ("forget_qa", "retain_qa", "forget_qa_icl", "retain_qa_icl")
    }
    found |= {("privleak", name): [{"text": name}] for name in ("forget", "retain", "holdout")}
    found["verbmem", "forget"] = [{"prompt": "Once upon", "gt": "a time."}]
    if folds:
        for kind in ("scal", "sust"):
            for number in range(1, 5):
                text = f"{kind} {number} " + "word " * 398
                found[kind, f"forget_{number}"] = [{"text": text}]
    return tables(found)


def test_muse() -> None:
    found = muse(muse_tables(folds=True), Source.parse("hub:muse-bench/MUSE-News"), None, 0)
    assert found.split("forget").facts[0].question == "forget_qa?"
    assert found.split("retain_icl").facts[0].question == "retain_qa_icl?"
    assert found.split("holdout").passages == ("holdout",)
    assert found.split("verbmem").facts[0].question == "Once upon"
    assert found.split("verbmem").facts[0].answer == "a time."
    fold = found.split("sust/3").facts[0]
    assert fold.question.startswith("sust 3 word")
    assert (len(fold.question.split()), len(fold.answer.split())) == (100, 100)
    books = muse(muse_tables(folds=False), Source.parse("hub:muse-bench/MUSE-Books"), None, 0)
    assert not any("/" in name for name in books.splits)


def test_wmdp() -> None:
    row: Row = {"question": " Which? ", "choices": ["w", "x", "y", "z"], "answer": 2}
    found: dict[tuple[str, str], list[Row]] = {
        (f"wmdp-{topic}", "test"): [row] for topic in ("bio", "chem", "cyber")
    }
    mmlu: dict[tuple[str, str], list[Row]] = {("all", "test"): [{**row, "subject": "anatomy"}]}
    source = Source.parse("hub:cais/wmdp,mmlu=yes")
    read = wmdp(tables(found), tables(mmlu), source, None, 0)
    assert list(read.splits) == ["wmdp-bio", "wmdp-chem", "wmdp-cyber", "mmlu"]
    (choice,) = read.split("wmdp-chem").choices
    assert (choice.question, choice.right, choice.topic) == ("Which?", 2, "chem")
    assert read.split("mmlu").choices[0].topic == "anatomy"
    without = wmdp(tables(found), tables({}), Source.parse("hub:cais/wmdp"), None, 0)
    assert "mmlu" not in without.splits
    broken: dict[tuple[str, str], list[Row]] = {
        **found,
        ("wmdp-bio", "test"): [{**row, "answer": 4}],
    }
    with pytest.raises(ValueError, match="wmdp-bio row 0: answer 4 of 4"):
        wmdp(tables(broken), tables({}), Source.parse("hub:cais/wmdp"), None, 0)


def rwku_tables() -> Tables:
    def row(subject: str, query: str, level: str, kind: str) -> Row:
        return {"query": query, "answer": "1947", "level": level, "type": kind, "subject": subject}

    return tables(
        {
            ("forget_target", "train"): [{"target": "Ada Vane"}, {"target": "Bo Lind"}],
            ("forget_level1", "test"): [row("Ada Vane", "She was born in ___.", "1", "cloze")],
            ("forget_level2", "test"): [
                row("Ada Vane", "When was she born?", "2", "simple question"),
                row("Bo Lind", "When was he born?", "2", "simple question"),
            ],
            ("forget_level3", "test"): [
                row("Ada Vane", "Be evil. When?", "3", "prefix injection"),
                row("Ada Vane", "When? Sure,", "3", "affirmative suffix"),
            ],
            ("neighbor_level1", "test"): [row("Ada Vane", "He met ___.", "1", "cloze")],
            ("neighbor_level2", "test"): [row("Ada Vane", "Whom did he meet?", "2", "simple")],
            ("mia_forget", "test"): [{"text": "On Ada.", "subject": "Ada Vane"}],
            ("mia_retain", "test"): [{"text": "On others.", "subject": "Di Oss"}],
        }
    )


def test_rwku() -> None:
    found = rwku(rwku_tables(), Source.parse("hub:jinzhuoran/RWKU,targets=1"), None, 0)
    assert [found.subjects[label].name for label in found.forgotten] == ["Ada Vane"]
    assert [f.question for f in found.split("forget").facts] == ["When was she born?"]
    assert found.split("forget").facts[0].values == ("1947",)
    assert found.split("forget_level1").facts[0].cloze == "She was born in"
    assert found.split("forget_level3/prefix injection").facts[0].subject == found.forgotten[0]
    assert found.split("retain").passages == ("On others.",)
    assert found.split("forget").passages == ("On Ada.",)
    everybody = rwku(rwku_tables(), Source.parse("hub:jinzhuoran/RWKU"), None, 0)
    assert len(everybody.split("forget").facts) == 2
    with pytest.raises(UnknownSource, match="number of people"):
        rwku(rwku_tables(), Source.parse("hub:jinzhuoran/RWKU,targets=few"), None, 0)
