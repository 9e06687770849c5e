"""Sources by name, and rows from files."""

from pathlib import Path

import pytest

from evals.datasets import UnknownSource, load
from evals.datasets.aliases import aliases_in
from evals.datasets.rows import json_lines, sampled
from evals.datasets.source import Source


def test_parts_of_a_source() -> None:
    found = Source.parse("tofu:/data/tofu,split=forget05,holdout=rest")
    assert (found.kind, found.where) == ("tofu", "/data/tofu")
    assert found.options == {"split": "forget05", "holdout": "rest"}
    assert Source.parse("demo") == Source("demo", "demo")


@pytest.mark.parametrize(
    "text", ["", "wiki", "demo:here", "tofu:", "tofu:a,rows=3", "tofu:a,split", "hub:a/b,split="]
)
def test_what_is_no_source(text: str) -> None:
    with pytest.raises(UnknownSource):
        Source.parse(text)


def test_what_no_converter_knows() -> None:
    with pytest.raises(UnknownSource, match="no converter"):
        load("hub:somebody/something")
    with pytest.raises(ValueError, match="rows"):
        load("demo", rows=0)


def test_json_lines_and_lists(tmp_path: Path) -> None:
    file = tmp_path / "rows.json"
    file.write_text('{"a": 1}\n\n{"a": 2}\n')
    assert json_lines(file) == [{"a": 1}, {"a": 2}]
    file.write_text('[{"a": 1}, {"a": 2}]')
    assert json_lines(file) == [{"a": 1}, {"a": 2}]
    file.write_text("nonsense")
    with pytest.raises(ValueError, match=r"rows\.json: not JSON"):
        json_lines(file)
    file.write_text("[1]")
    with pytest.raises(ValueError, match="object"):
        json_lines(file)


def test_samples_keep_their_order_and_are_the_same_each_time() -> None:
    items = list(range(100))
    assert list(sampled(items, 7, 3)) == sorted(sampled(items, 7, 3))
    assert sampled(items, 7, 3) == sampled(items, 7, 3) != sampled(items, 7, 4)
    assert sampled(items, None, 3) == sampled(items, 100, 3) == tuple(items)


def test_aliases_are_the_name_that_most_questions_hold() -> None:
    asked = [
        "Who is Ada Vane-Mott?",
        "What did Ada Vane-Mott’s father do in New York?",
        "Did Ada Vane-Mott win the Silver Quill?",
        "Where does she live?",
    ]
    assert aliases_in(asked) == ("Ada Vane-Mott", "Ada", "Vane-Mott")
    assert aliases_in(["where is it?"]) == ()
