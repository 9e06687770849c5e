"""The audit log: everything once, in order, chained; and it says when it cannot."""

import json
import resource
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from models.artifact import canonical_json
from service.audit import AdminEntry, AuditLog, CaseEntry
from service.audit_file import AuditFile, verify


def _case(number: int) -> CaseEntry:
    return CaseEntry(
        case=f"case_{number}",
        tenant="default",
        key="key_x",
        epoch=3,
        outcome="completed",
        policies=("sha256:" + "0" * 64,),
        evidence=("alias",),
        edits={"embedding_corruption": 1},
        scanned_bytes=10,
        released_bytes=10,
        duration_s=0.123456789,
    )


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _wait_until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + 30
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


def test_every_entry_is_a_line_in_one_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    for number in range(50):
        log.write(_case(number))
    log.write(AdminEntry(act="forget", key="key_y", target="fr_x"))
    log.close()
    records = [json.loads(line) for line in _lines(path)]
    assert [record["kind"] for record in records] == ["start", *["case"] * 50, "admin"]
    assert [record["seq"] for record in records] == list(range(1, 53))
    assert records[7]["case"] == "case_6"
    assert records[7]["edits"] == {"embedding_corruption": 1}
    assert verify(_lines(path)) == (52, 0, 0)


def test_a_restart_goes_on_with_the_chain(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    for _ in range(3):
        log = AuditLog(path)
        log.write(_case(1))
        log.close()
    assert verify(_lines(path)) == (6, 0, 0)


def test_processes_on_one_path_write_files_of_their_own(tmp_path: Path) -> None:
    logs = [AuditLog(tmp_path / "audit.jsonl") for _ in range(3)]
    for log in logs:
        log.write(_case(1))
        log.close()
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == ["audit.1.jsonl", "audit.2.jsonl", "audit.jsonl"]
    assert {verify(_lines(path)) for path in tmp_path.iterdir()} == {(2, 0, 0)}


@pytest.mark.parametrize("cut", [1, 2, 40])
def test_a_line_torn_by_a_crash_stays_and_breaks_nothing(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    log.write(_case(1))
    log.close()
    path.write_bytes(path.read_bytes()[:-cut])
    log = AuditLog(path)
    log.close()
    # Without only its line feed the record was complete.
    assert verify(_lines(path)) == ((3, 0, 0) if cut == 1 else (2, 1, 0))


def test_a_full_disk_makes_it_unhealthy_and_nothing_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    assert log.healthy
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (path.stat().st_size + 100, most))
    try:
        for number in range(5):
            log.write(_case(number))
        _wait_until(lambda: not log.healthy)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))
    _wait_until(lambda: log.healthy)
    log.close()
    cases = [record["case"] for line in _lines(path) if "case" in (record := json.loads(line))]
    assert cases == [f"case_{number}" for number in range(5)]
    assert verify(_lines(path)).broken == 0


def test_an_impossible_path_is_unhealthy_from_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    log = AuditLog(tmp_path / "file" / "audit.jsonl")
    assert not log.healthy
    log.close()


def test_a_file_taken_away_is_noticed_and_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "audit.jsonl"
    log = AuditLog(path)
    path.rename(tmp_path / "taken.jsonl")
    log.write(_case(1))
    _wait_until(lambda: path.exists() and b"case_1" in path.read_bytes())
    log.close()


def test_what_a_full_queue_loses_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, go_on, append = tmp_path / "audit.jsonl", threading.Event(), AuditFile.append
    log = AuditLog(path, capacity=10)

    def slow(file: AuditFile, records: list[dict[str, object]]) -> None:
        go_on.wait(30)
        append(file, records)

    monkeypatch.setattr(AuditFile, "append", slow)
    for number in range(100):
        log.write(_case(number))
    assert not log.healthy
    go_on.set()
    _wait_until(lambda: log.healthy)
    log.close()
    records = [json.loads(line) for line in _lines(path)]
    lost = sum(record.get("lost", 0) for record in records)
    assert lost > 0
    assert lost + sum(record["kind"] == "case" for record in records) == 100


chains = st.integers(3, 12)


def _chain(folder: Path, length: int) -> list[bytes]:
    file = AuditFile(folder / "audit.jsonl")
    file.append({"kind": "case", "case": f"case_{number}"} for number in range(length))
    file.close()
    return _lines(folder / "audit.jsonl")


@given(
    length=chains, at=st.integers(0, 100), how=st.sampled_from(["flip", "drop", "swap", "twice"])
)
def test_tampering_before_the_last_line_is_found(
    tmp_path_factory: pytest.TempPathFactory, length: int, at: int, how: str
) -> None:
    lines = _chain(tmp_path_factory.mktemp("chain"), length)
    at %= length - 1
    changed = list(lines)
    if how == "flip":
        record = json.loads(lines[at])
        changed[at] = canonical_json({**record, "case": "another"})
    elif how == "drop":
        del changed[at]
    elif how == "swap":
        changed[at], changed[at + 1] = changed[at + 1], changed[at]
    else:
        changed.insert(at, changed[at])
    assert verify(lines).broken == 0
    assert verify(changed).broken > 0
