"""Several real processes over one database: what is answered with 2xx holds everywhere."""

import random
import signal
import sqlite3
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest

BACKENDS = ("sqlite", "postgresql")
Start = Callable[[float], Any]
LEASE_S = 1.0


def test_an_accepted_request_is_enforced_by_every_process_when_the_answer_comes(
    planes: Start,
) -> None:
    here, there = planes(LEASE_S), planes(LEASE_S)
    for number in range(10):
        subject = f"Ilse Vantongeren {number}"
        here.forget(subject)
        assert there.enforces(f"Who is {subject}?") is True
        assert here.enforces(f"Who is {subject}?") is True


def test_a_revoked_request_is_gone_in_every_process_when_the_answer_comes(planes: Start) -> None:
    here, there = planes(LEASE_S), planes(LEASE_S)
    request_id = here.forget("Ilse Vantongeren")
    there.revoke(request_id)
    assert here.enforces("Ilse Vantongeren") is False
    assert there.enforces("Ilse Vantongeren") is False


def test_a_restart_restores_what_was_active(planes: Start) -> None:
    plane = planes(LEASE_S)
    kept, ended = plane.forget("Ilse Vantongeren"), plane.forget("Bertil Oyelaran")
    plane.revoke(ended)
    plane.kill()
    plane.start()
    assert plane.enforces("Ilse Vantongeren") is True
    assert plane.enforces("Bertil Oyelaran") is False
    with plane.client() as client:
        assert client.get(f"/v1/forget_requests/{kept}").json()["state"] == "received"


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_stopped_process_delays_the_answer_by_its_lease_and_wakes_up_fenced(
    planes: Start, tmp_path: Path
) -> None:
    here, stopped = planes(LEASE_S), planes(LEASE_S)
    stopped.signal(signal.SIGSTOP)
    began = time.monotonic()
    here.forget("Ilse Vantongeren")
    # Its last renewal was at most a quarter of a lease old.
    assert time.monotonic() - began > LEASE_S / 2
    # While nobody can write, it cannot take a lease, so what it says is what it woke up with.
    writer = sqlite3.connect(tmp_path / "lethe.db", isolation_level=None)
    writer.execute("BEGIN IMMEDIATE")
    stopped.signal(signal.SIGCONT)
    assert [stopped.enforces("Ilse Vantongeren") for _ in range(20)] == [None] * 20
    writer.execute("ROLLBACK")
    writer.close()
    seen = [stopped.enforces("Ilse Vantongeren")]
    while seen[-1] is not True:
        seen.append(stopped.enforces("Ilse Vantongeren"))
    assert False not in seen


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_nothing_accepted_is_lost_by_kill_9_at_any_moment_of_handling(planes: Start) -> None:
    plane = planes(0.3)
    usual = _seconds_of(lambda: plane.forget("Warm Up"))
    accepted, rng = {"Warm Up"}, random.Random(20)
    # Delays sweep the handling; the last ones kill directly after the 2xx.
    delays = [usual * step / 16 + rng.uniform(0, usual / 16) for step in range(18)]
    for number, delay in enumerate([*delays, None, None, None, None]):
        subject = f"Ilse Vantongeren {number}"
        if _killed_while_posting(plane, subject, delay):
            accepted.add(subject)
        plane.start()
        missing = [subject for subject in accepted if plane.enforces(subject) is not True]
        assert missing == []
    assert len(accepted) >= 5  # those killed after the answer, and the first
    listed = _listed(plane)
    assert accepted <= set(listed)
    assert all(plane.enforces(subject) for subject in listed)


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_processes_that_start_at_once_share_one_database(planes: Start, tmp_path: Path) -> None:
    first = planes(LEASE_S)
    first.kill()
    for path in tmp_path.glob("lethe.db*"):
        path.unlink()
    (tmp_path / "keys.json").unlink()
    threads = [threading.Thread(target=planes, args=(LEASE_S,)) for _ in range(3)]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    for thread in threads:
        thread.join()
    last = planes(LEASE_S)
    last.forget("Ilse Vantongeren")


def _killed_while_posting(plane: Any, subject: str, delay: float | None) -> bool:
    """Post and kill after ``delay`` seconds, or at the answer; whether a 2xx was seen."""
    killer = threading.Timer(delay, plane.kill) if delay is not None else None
    if killer is not None:
        killer.start()
    try:
        plane.forget(subject)
        return True
    except httpx.TransportError:
        return False
    finally:
        if killer is not None:
            killer.join()
        plane.kill()


def _listed(plane: Any) -> list[str]:
    subjects: list[str] = []
    query: dict[str, Any] = {"limit": 7}
    with plane.client() as client:
        while True:
            page = client.get("/v1/forget_requests", params=query).json()
            subjects += [item["subject"] for item in page["data"]]
            if not page["has_more"]:
                return subjects
            query["after"] = page["last_id"]


def _seconds_of(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began
