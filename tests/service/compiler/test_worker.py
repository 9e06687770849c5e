"""The compiler's worker: what it does in order, and what is left when it is killed."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from guards.policy import GuardSpec, Policy
from models.encoder import EncoderUnavailable
from service.compiler.failure import MOST_ATTEMPTS
from service.compiler.step import BelowFloor, Step
from service.compiler.worker import Worker
from service.store.compilations import Job
from service.store.forget_requests import ForgetRecord, NewForgetRequest
from service.store.state import State
from service.store.store import Store, open_store

APP = Path(__file__).with_name("worker_app.py")
NAME = "Ilse Vantongeren"
PATIENCE_S = 60.0


@pytest.fixture(scope="module")
def app() -> ModuleType:
    """The module of the small compiler process."""
    spec = importlib.util.spec_from_file_location("worker_app", APP)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def store(tmp_path: Path, app: ModuleType) -> Iterator[Store]:
    opened = open_store(app.settings_of(tmp_path))
    yield opened
    opened.close()


def _file(store: Store, number: int = 1, **other: Any) -> str:
    request_id = f"fr_{number}"
    policy = Policy(request_id, (NAME,), guards=(GuardSpec("text_filter"),))
    content = {"subject": NAME}
    new = NewForgetRequest(request_id, content, "auto", policy, "key_x", compiled=True, **other)
    return store.forget_requests.add(new).record.id


def _job(store: Store, request_id: str = "fr_1") -> Job:
    return store.compilations.latest([request_id])[request_id]


def _worker(store: Store, tmp_path: Path, app: ModuleType, *steps: Step, **other: Any) -> Worker:
    ran = steps or app.steps(tmp_path / "ran.txt", 0.0)
    options = {"model": app.MODEL, "pause": lambda _attempt: 0.0, **other}
    return Worker(store, app.settings_of(tmp_path), steps=ran, **options)


def _told(store: Store, request_id: str = "fr_1") -> list[str]:
    return [event.event for event in store.life_events.after(request_id)]


def _failing(error: Exception) -> Step:
    def run(_bench: Any, _results: Any) -> Any:
        raise error

    return Step("fit", 1.0, run)


def test_what_comes_out_is_put_in_force(store: Store, tmp_path: Path, app: ModuleType) -> None:
    _file(store)
    assert _worker(store, tmp_path, app).once()
    record = store.forget_requests.get("fr_1")
    assert (record.state, record.certified_for) == (State.ACTIVE, app.MODEL)
    assert record.enforced_at is not None
    (policy,) = store.epochs.load().policies
    assert policy.digest == record.policy
    assert [g.kind for g in policy.guards] == ["refusal", "text_filter"]
    assert _told(store) == ["filed", "claim", "step", "step", "verify", "activate"]
    assert store.certificates.of_policies([policy.digest])[policy.digest]["certificate"]
    with store._database.reading() as connection:  # what steps found is of the content
        count = connection.exec_driver_sql("SELECT count(*) FROM compilation_steps").scalar_one()
        assert count == 0
    assert not _worker(store, tmp_path, app).once()


def _swapped(app: ModuleType, **change: Any) -> Step:
    def run(bench: Any, _results: Any) -> Any:
        found = app.outcome(bench)
        return {**found, "policy": {**found["policy"], **change}}

    return Step("certify", 1.0, run)


@pytest.mark.parametrize(
    ("error", "code", "again"),
    [
        (BelowFloor(("leaks", "changed")), "below_floor", False),
        (FileNotFoundError("weights"), "model_unavailable", True),
        (EncoderUnavailable("no encoder"), "encoder_unavailable", True),
        (RuntimeError(NAME), "step_failed", True),
    ],
)
def test_a_failure_leaves_in_force_what_is(
    store: Store,
    tmp_path: Path,
    app: ModuleType,
    caplog: pytest.LogCaptureFixture,
    error: Exception,
    code: str,
    again: bool,
) -> None:
    _file(store)
    before = store.epochs.load()
    assert _worker(store, tmp_path, app, _failing(error)).once()
    job, record = _job(store), store.forget_requests.get("fr_1")
    assert (job.error, record.state) == (code, State.RECEIVED)
    assert job.status == ("waiting" if again else "failed")
    assert job.detail == ("leaks,changed" if code == "below_floor" else "")
    assert store.epochs.load() == before
    assert code in caplog.text
    assert NAME not in caplog.text
    assert _worker(store, tmp_path, app).once() == again
    assert store.forget_requests.get("fr_1").state == (State.ACTIVE if again else State.RECEIVED)


def test_a_step_that_always_fails_is_given_up(
    store: Store, tmp_path: Path, app: ModuleType
) -> None:
    _file(store)
    worker = _worker(store, tmp_path, app, _failing(RuntimeError("no")))
    tries = 0
    while worker.once():
        tries += 1
    assert tries == MOST_ATTEMPTS
    assert (_job(store).status, _job(store).error) == ("failed", "step_failed")


@pytest.mark.parametrize(
    "change",
    [
        {"forget_request": "fr_other"},
        {"aliases": ["Somebody Else"]},
        {"tenants": ["acme"]},
        {"guards": []},
        {"guards": [{"kind": "no_such_guard", "options": {}}]},
        {"format": 2},
    ],
)
def test_a_policy_about_something_else_is_refused(
    store: Store, tmp_path: Path, app: ModuleType, change: dict[str, Any]
) -> None:
    _file(store)
    before = store.epochs.load()
    _worker(store, tmp_path, app, _swapped(app, **change)).once()
    assert (_job(store).status, _job(store).error) == ("failed", "policy_unfit")
    assert store.epochs.load() == before


def test_what_was_certified_for_another_model_is_compiled_again(
    store: Store, tmp_path: Path, app: ModuleType
) -> None:
    _file(store)
    _worker(store, tmp_path, app).once()
    in_force = store.epochs.load()
    new = "sha256:" + "2" * 64
    assert store.compilations.queue_uncertified(app.MODEL, "cw_new") == 0
    assert store.compilations.queue_uncertified(new, "cw_new") == 1
    record = store.forget_requests.get("fr_1")
    assert (record.state, record.certified_for) == (State.COMPILING, None)
    assert _job(store).reason == "model_changed"
    assert store.epochs.load() == in_force
    _worker(store, tmp_path, app, _failing(BelowFloor(("leaks",))), model=new).once()
    assert store.forget_requests.get("fr_1").state is State.RECEIVED  # no certificate holds
    assert store.epochs.load() == in_force
    store.compilations.queue("fr_1", "key_x")
    _worker(store, tmp_path, app, model=new).once()
    record = store.forget_requests.get("fr_1")
    assert (record.state, record.certified_for) == (State.ACTIVE, new)


def test_results_for_another_model_are_not_gone_on_with(
    store: Store, tmp_path: Path, app: ModuleType
) -> None:
    _file(store)
    first, *_ = app.steps(tmp_path / "ran.txt", 0.0)
    failing = replace(_failing(OSError()), name="fit")
    _worker(store, tmp_path, app, first, failing).once()
    _worker(store, tmp_path, app, model="sha256:" + "2" * 64).once()
    ran = (tmp_path / "ran.txt").read_text().split()
    assert ran == ["elicit", "elicit", "fit", "certify"]
    assert store.forget_requests.get("fr_1").state is State.ACTIVE


def test_a_request_that_ends_while_it_is_compiled_stays_ended(
    store: Store, tmp_path: Path, app: ModuleType
) -> None:
    _file(store)

    def run(bench: Any, _results: Any) -> Any:
        store.forget_requests.revoke("fr_1", "key_x")
        return app.outcome(bench)

    assert _worker(store, tmp_path, app, Step("certify", 1.0, run)).once()
    assert store.forget_requests.get("fr_1").state is State.REVOKED
    assert _job(store).status == "cancelled"
    assert store.epochs.load().policies == ()


def test_several_workers_share_what_waits(store: Store, tmp_path: Path, app: ModuleType) -> None:
    for number in range(6):
        _file(store, number)
    workers = [_worker(store, tmp_path, app) for _ in range(3)]

    def work(worker: Worker) -> None:
        while worker.once():
            pass

    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number in range(6):
        assert store.forget_requests.get(f"fr_{number}").state is State.ACTIVE
        assert _told(store, f"fr_{number}").count("activate") == 1
    assert sorted((tmp_path / "ran.txt").read_text().split()) == sorted(
        6 * ["elicit", "fit", "certify"]
    )


def test_imported_requests_give_way(store: Store, tmp_path: Path, app: ModuleType) -> None:
    _file(store, 1, imported=True)
    _file(store, 2)
    _worker(store, tmp_path, app).once()
    assert store.forget_requests.get("fr_2").state is State.ACTIVE
    assert store.forget_requests.get("fr_1").state is State.RECEIVED


def test_a_policy_that_no_replica_can_load_is_taken_back(
    store: Store, tmp_path: Path, app: ModuleType
) -> None:
    from service.store.replicas import Report

    _file(store)
    before = store.epochs.load()
    store.replicas.renew("rep_1", Report(acked=1, ready=1))
    worker = _worker(store, tmp_path, app)
    ended = threading.Event()

    def refuse() -> None:
        while not ended.wait(0.02):
            newest = store.epochs.newest()
            report = Report(acked=1, ready=1, refused=2 if newest == 2 else 0)
            if newest == 3:
                report = Report(acked=3, ready=3)
            store.replicas.renew("rep_1", report)

    thread = threading.Thread(target=refuse)
    thread.start()
    worker.once()
    ended.set()
    thread.join()
    record = store.forget_requests.get("fr_1")
    assert (record.state, _job(store).error) == (State.RECEIVED, "not_loadable")
    assert store.epochs.load().policies == before.policies
    assert store.epochs.newest() == 3


class Nursery:
    """Starts compiler processes over one data folder."""

    def __init__(self, data_dir: Path) -> None:
        self._data_dir = data_dir
        pipe = subprocess.PIPE
        self._parent = subprocess.Popen(  # noqa: S603 - ours
            [sys.executable, str(APP)], stdin=pipe, stdout=pipe, text=True
        )

    def start(self) -> int:
        """Its process id."""
        assert self._parent.stdin is not None
        assert self._parent.stdout is not None
        self._parent.stdin.write(f"{self._data_dir}\n")
        self._parent.stdin.flush()
        return int(self._parent.stdout.readline())

    def close(self) -> None:
        """End the parent."""
        self._parent.kill()
        self._parent.communicate()


@pytest.fixture
def nursery(tmp_path: Path) -> Iterator[Nursery]:
    made = Nursery(tmp_path)
    yield made
    made.close()


def _until(holds: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not holds():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.02)


def _runs(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)
    _until(lambda: not _runs(pid))


def test_nothing_is_lost_or_done_twice_by_kill_9_at_any_moment(
    store: Store, nursery: Nursery, tmp_path: Path
) -> None:
    rng = random.Random(5)
    ids = [_file(store, number) for number in range(4)]
    _kill(nursery.start())
    for _ in range(14):
        pid = nursery.start()
        time.sleep(rng.uniform(0.05, 1.2))
        _kill(pid)
    last = nursery.start()

    def all_active() -> bool:
        return all(_state(store, i) is State.ACTIVE for i in ids)

    _until(all_active)
    _kill(last)
    for request_id in ids:
        told = _told(store, request_id)
        assert told.count("activate") == told.count("filed") == 1
        finished = [e.detail for e in store.life_events.after(request_id) if e.event == "step"]
        assert finished == ["elicit", "fit"]
    assert store.epochs.newest() == 2 * len(ids)
    assert len(store.epochs.load().policies) == len(ids)


def _state(store: Store, request_id: str) -> State:
    record: ForgetRecord = store.forget_requests.get(request_id)
    return record.state


def test_sigterm_puts_back_what_is_under_way(
    store: Store, nursery: Nursery, tmp_path: Path
) -> None:
    _file(store)
    pid = nursery.start()
    _until(lambda: (tmp_path / "ran.txt").exists())
    os.kill(pid, signal.SIGTERM)
    _until(lambda: not _runs(pid))
    job = _job(store)
    assert (job.status, job.worker, job.error) == ("waiting", "", "")
    other = nursery.start()
    _until(lambda: _state(store, "fr_1") is State.ACTIVE)
    _kill(other)
