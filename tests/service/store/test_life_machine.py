"""Every (state, event) pair, on the table and on a real store."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from guards.policy import GuardSpec, Policy
from service.settings import Settings
from service.store.compilations import JobLost, NotCompilable
from service.store.forget_requests import ForgetRecord, NewForgetRequest, NotSupersedable
from service.store.state import ENFORCED, LIFE, Event, State, TransitionRefused, after
from service.store.store import Store, open_store

ME, OLD_MODEL, NEW_MODEL = "cw_me", "sha256:" + "0" * 64, "sha256:" + "1" * 64
REQUEST = "fr_walked"
PAIRS = [(state, event) for state in State for event in Event]

# By hand, and apart from the code: what a request does at each event.
WALK = """
              queue      claim      verify     activate fail     fall_back withdraw supersede  expire  revoke
    received  received   compiling  -          -        -        -         -        superseded expired revoked
    compiling -          compiling  verifying  -        received active    -        superseded expired revoked
    verifying -          compiling  -          active   received active    -        superseded expired revoked
    active    compiling  compiling  -          -        -        -         received superseded expired revoked
    superseded - - - - - - - - - -
    expired    - - - - - - - - - -
    revoked    - - - - - - - - - -
"""  # noqa: E501 - a table


def _expected() -> dict[tuple[State, Event], State | None]:
    head, *rows = [line.split() for line in WALK.strip().splitlines()]
    return {
        (State(row[0]), Event(event)): None if cell == "-" else State(cell)
        for row in rows
        for event, cell in zip(head, row[1:], strict=True)
    }


def test_the_table_is_the_one_that_was_meant() -> None:
    expected = _expected()
    assert set(expected) == set(PAIRS)
    assert {pair: state for pair, state in expected.items() if state is not None} == dict(LIFE)


@pytest.mark.parametrize(("before", "event"), PAIRS)
def test_only_listed_steps_are_possible(before: State, event: Event) -> None:
    if (before, event) in LIFE:
        assert after(before, event) is LIFE[before, event]
    else:
        with pytest.raises(TransitionRefused):
            after(before, event)


def new(request_id: str = REQUEST, **other: Any) -> NewForgetRequest:
    policy = Policy(request_id, ("Ilse Vantongeren",), guards=(GuardSpec("text_filter"),))
    content = {"subject": "Ilse Vantongeren"}
    return NewForgetRequest(request_id, content, "auto", policy, "key_x", **other)


def compiled(number: int = 0, request_id: str = REQUEST) -> Policy:
    guards = (GuardSpec("refusal"), GuardSpec("text_filter"))
    return Policy(request_id, ("Ilse Vantongeren", f"I. V. {number}"), guards=guards)


def job(store: Store) -> Any:
    return store.compilations.latest([REQUEST])[REQUEST]


def claim(store: Store, model: str = NEW_MODEL) -> Any:
    claimed = store.compilations.claim(job(store), ME, model)
    assert claimed is not None
    return claimed


def to_verifying(store: Store, model: str = NEW_MODEL) -> None:
    claim(store, model)
    store.compilations.begin_step(job(store).id, ME, "held_out", verifying=True)


def to_active(store: Store, model: str = NEW_MODEL) -> None:
    to_verifying(store, model)
    store.compilations.activate(job(store).id, ME, compiled(), {"format": 1})


REACH: dict[State, Callable[[Store], object]] = {
    State.RECEIVED: lambda store: None,
    State.COMPILING: claim,
    State.VERIFYING: to_verifying,
    State.ACTIVE: to_active,
    State.SUPERSEDED: lambda store: store.forget_requests.add(new("fr_2", supersedes=REQUEST)),
    State.EXPIRED: lambda store: store.forget_requests.expire_due(10),
    State.REVOKED: lambda store: store.forget_requests.revoke(REQUEST, "key_x"),
}


def _fail(store: Store) -> None:
    store.compilations.fail(job(store).id, ME, "step_failed", retry=False)


# What has to hold before an event is one: a certificate to fall back to, a job to be claimed.
PREPARE = {
    Event.FALL_BACK: "UPDATE forget_requests SET certified_for = 'sha256:x'",
    Event.CLAIM: "UPDATE compilations SET status = 'waiting'",
}


def _withdraw(store: Store) -> None:
    epoch = store.forget_requests.get(REQUEST).epoch
    if not store.compilations.withdraw(REQUEST, epoch, "not_loadable", ME):
        raise TransitionRefused


DO: dict[Event, Callable[[Store], object]] = {
    Event.QUEUE: lambda store: store.compilations.queue(REQUEST, "key_x"),
    Event.CLAIM: claim,
    Event.VERIFY: lambda store: store.compilations.begin_step(
        job(store).id, ME, "held_out", verifying=True
    ),
    Event.ACTIVATE: lambda store: store.compilations.activate(
        job(store).id, ME, compiled(), {"format": 1}
    ),
    Event.FAIL: _fail,
    Event.FALL_BACK: _fail,
    Event.WITHDRAW: _withdraw,
    Event.SUPERSEDE: lambda store: store.forget_requests.add(new("fr_3", supersedes=REQUEST)),
    Event.EXPIRE: lambda store: store.forget_requests.expire_due(10),
    Event.REVOKE: lambda store: store.forget_requests.revoke(REQUEST, "key_x"),
}
REFUSALS = (TransitionRefused, NotCompilable, NotSupersedable, JobLost)


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a migrated database, to be copied: migrating takes longer than a walk."""
    folder = tmp_path_factory.mktemp("empty")
    open_store(Settings(data_dir=folder)).close()
    return folder


@pytest.fixture
def copied(empty: Path, tmp_path: Path) -> Iterator[Store]:
    shutil.copytree(empty, tmp_path, dirs_exist_ok=True)
    opened = open_store(Settings(data_dir=tmp_path))
    yield opened
    opened.close()


@pytest.mark.parametrize(("before", "event"), PAIRS)
def test_the_store_walks_the_table(copied: Store, before: State, event: Event) -> None:
    store = copied
    store.forget_requests.add(new(compiled=True, expires_at=5))
    REACH[before](store)
    if event is Event.QUEUE and before is State.RECEIVED:
        claim(store)
        _fail(store)  # one that waits already is not queued again
    if event in PREPARE:
        with store._database.writing() as connection:
            connection.exec_driver_sql(PREPARE[event])
    was = _state_of_everything(store)
    record = was[0]
    assert record.state is before
    with suppress(*REFUSALS):
        DO[event](store)
    found = store.forget_requests.get(REQUEST)
    expected = _expected()[before, event]
    if expected is None:
        assert _state_of_everything(store) == was
        return
    assert found.state is expected
    _assert_consistent(store, found)
    last = store.life_events.after(REQUEST)[-1]
    assert (last.event, last.state) == (event.value, expected)
    assert last.policy == (record.policy if expected not in ENFORCED else found.policy)


def _state_of_everything(store: Store) -> tuple[ForgetRecord, Any, int, Any]:
    requests = store.forget_requests.page(state=None, after=None, limit=100)
    return (
        store.forget_requests.get(REQUEST),
        requests,
        store.epochs.newest(),
        store.life_events.after(REQUEST),
    )


def _assert_consistent(store: Store, found: ForgetRecord) -> None:
    in_force = {p.forget_request: p for p in store.epochs.load().policies}
    assert (REQUEST in in_force) == (found.state in ENFORCED)
    if found.state in ENFORCED:
        assert in_force[REQUEST].digest == found.policy
        assert found.content is not None
    else:
        assert found.content is None
        assert job(store).status in ("cancelled", "done", "failed")
    assert (found.state is State.ACTIVE) <= (found.certified_for is not None)
