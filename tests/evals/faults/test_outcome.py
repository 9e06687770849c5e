"""Hand-worked outcomes: kept, read again, and shown."""

from pathlib import Path

from evals.enforcement.verdicts import Verdict
from evals.faults.of_engine import WrongRow
from evals.faults.outcome import HEALTHY, outcome_of, read, table, write


def verdict(check: str, *, passed: bool) -> Verdict:
    return Verdict(probe=check, check=check, judge="silent", layer="L2", passed=passed)


JUDGED = [
    verdict("chat", passed=False),
    verdict("chat", passed=False),
    verdict("completion", passed=False),
    verdict("streamed", passed=True),
]


def test_what_failed_is_counted_by_check_and_layer() -> None:
    found = outcome_of(WrongRow, JUDGED, 3.14159)
    assert found.failed == {"chat / silent": 2, "completion / silent": 1}
    assert found.layers == {"L2": 3}
    assert (found.checked, found.seconds, found.caught) == (4, 3.1, True)


def test_a_trial_in_which_everything_passes_catches_nothing() -> None:
    found = outcome_of(None, JUDGED[3:], 1.0)
    assert (found.fault, found.caught) == (HEALTHY, False)


def test_outcomes_are_kept_and_read_again(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    assert read(path) == {}
    done = {"wrong-row": outcome_of(WrongRow, JUDGED, 1.0)}
    write(path, done)
    assert read(path) == done
    assert list(tmp_path.iterdir()) == [path]


def test_the_page_names_what_was_not_found_and_what_was_not_tried() -> None:
    caught = outcome_of(WrongRow, JUDGED, 1.0)
    missed = caught.model_copy(update={"fault": "hidden", "failed": {}})
    page = table([caught, missed], ["later"])
    assert "**1 of 2 faults were found**" in page
    assert "| `wrong-row` |" in page
    assert "| 3 | chat / silent (2); completion / silent (1) |" in page
    assert page.split("## Not found")[1].strip().startswith("`hidden`")
    assert "`later`" in page.split("## Not tried")[1].split("##")[0]
