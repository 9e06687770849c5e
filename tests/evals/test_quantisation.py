"""Forgetting on rounded weights, end to end where nothing has to be fitted or served."""

import json
from pathlib import Path

import pytest

from evals.quantisation import SHOWN, Cell, figures_of, main, table
from evals.suite import Figure


@pytest.mark.timeout(240)
def test_weights_are_asked_as_they_are_and_rounded_and_nothing_twice(tmp_path: Path) -> None:
    main(out=tmp_path, rows=2, bits="3", ways="nothing,never_knew", concurrency=1)
    kept = json.loads((tmp_path / "quantisation.json").read_text())
    assert [(each["way"], each["bits"]) for each in kept] == [
        ("nothing", None),
        ("nothing", 3),
        ("never_knew", None),
        ("never_knew", 3),
    ]
    knows, unknowing = Cell("nothing", None), Cell("never_knew", None)
    worst = {"k": "16"}
    leaks = {
        cell: next(f.value for f in figures_of(cell, tmp_path) if f.by == worst)
        for cell in (knows, unknowing)
    }
    assert leaks == {knows: 1.0, unknowing: 0.0}  # the two ends of the scale
    assert {path.name for path in (tmp_path / "models").iterdir()} == {
        "original-3",
        "never_knew-3",
    }
    answers = tmp_path / knows.name / "leak_at_k.jsonl"
    before = answers.read_bytes()
    main(out=tmp_path, rows=2, bits="3", ways="nothing,never_knew", concurrency=1)
    assert answers.read_bytes() == before


def test_the_table_has_a_row_for_each_way_and_precision() -> None:
    figures = [
        Figure(name="leak_at_k", value=0.5, better="lower", n=4, low=0.1, high=0.9, by={"k": "1"})
    ]
    lines = table({Cell("npo", 4): figures, Cell("stopgap", None): []}).splitlines()
    assert len(lines[0].split("|")) == len(SHOWN) + 4
    assert lines[2].startswith("| in the weights (NPO, merged) | 4 bits | 0.500 [0.100, 0.900] | –")
    assert lines[3].startswith("| while serving (stop-gap) | as they are | – |")
