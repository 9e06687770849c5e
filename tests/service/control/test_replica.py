"""A replica serves exactly one epoch, or nothing."""

import threading
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import pytest

from models.encoder import Encoder, EncoderUnavailable
from service.control.fence import FenceReason
from service.control.replica import Replica, ReplicaFenced
from service.settings import Settings
from service.store.epochs import Standing
from service.store.store import Store

BACKENDS = ("sqlite", "postgresql")
Wait = Callable[[Callable[[], object]], None]
Make = Callable[..., Replica]
Act = Callable[..., None]


@pytest.fixture
def make(store: Store, settings: Settings, plane_app: ModuleType) -> Iterator[Make]:
    """Starts replicas over the test's store; stops them after."""
    made: list[Replica] = []

    def start(load: Callable[[], Any] = object, build: Any = None) -> Replica:
        replica = Replica(store, settings, load, build=build or plane_app.build_plainly)
        made.append(replica)
        replica.start()
        return replica

    yield start
    for replica in made:
        replica.stop()


def _serves(replica: Replica, number: int) -> bool:
    return _epoch(replica) == number


def _epoch(replica: Replica) -> int | None:
    try:
        rules: Any = replica.rules
    except ReplicaFenced:
        return None
    return int(rules.listed.number)


def test_it_is_fenced_until_the_first_epoch_is_up(store: Store, settings: Settings) -> None:
    replica = Replica(store, settings, lambda: pytest.fail("not started yet"))
    assert replica.fenced is FenceReason.STARTING
    with pytest.raises(ReplicaFenced, match="starting"):
        _ = replica.rules


def test_it_follows_every_epoch(make: Make, newer: Callable[[], int], wait_until: Wait) -> None:
    replica = make()
    for _ in range(3):
        made = newer()
        wait_until(partial(_serves, replica, made))
    assert replica.fenced is None


def test_it_says_which_epoch_it_serves_only_when_it_does(
    make: Make, store: Store, newer: Callable[[], int], wait_until: Wait
) -> None:
    replica = make()
    number = newer()
    wait_until(lambda: any(row.acked_epoch == number for row in store.replicas.all()))
    assert _epoch(replica) == number


def test_without_its_encoder_it_serves_nothing_and_tries_again(
    make: Make, wait_until: Wait
) -> None:
    there = threading.Event()

    def load() -> object:
        if not there.is_set():
            raise EncoderUnavailable
        return object()

    replica = make(load)
    wait_until(lambda: replica.fenced is FenceReason.ENCODER_UNAVAILABLE)
    there.set()
    wait_until(lambda: replica.fenced is None)


def test_an_epoch_that_nobody_can_build_leaves_the_one_before_in_force(
    make: Make, store: Store, newer: Callable[[], int], wait_until: Wait, plane_app: ModuleType
) -> None:
    broken = threading.Event()

    def build(epoch: Any, encoder: Any, previous: Any) -> Any:
        if broken.is_set():
            raise ValueError("Ilse Vantongeren")
        return plane_app.build_plainly(epoch, encoder, previous)

    replica = make(build=build)
    before = newer()
    wait_until(lambda: _serves(replica, before))
    broken.set()
    after = newer()
    wait_until(lambda: replica.refusal is FenceReason.BUILD_FAILED)
    assert _serves(replica, before)
    assert store.epochs.standing() == Standing(current=before, newest=after)
    broken.clear()
    wait_until(lambda: _serves(replica, after))
    assert replica.refusal is None


def test_who_cannot_build_what_another_can_stops_serving_and_is_not_waited_for(
    make: Make, store: Store, newer: Callable[[], int], wait_until: Wait, plane_app: ModuleType
) -> None:
    broken = threading.Event()

    def build(epoch: Any, encoder: Any, previous: Any) -> Any:
        if broken.is_set():
            raise ValueError("Ilse Vantongeren")
        return plane_app.build_plainly(epoch, encoder, previous)

    weak, strong = make(build=build), make()
    before = newer()
    wait_until(lambda: _serves(weak, before) and _serves(strong, before))
    broken.set()
    after = newer()
    wait_until(lambda: weak.fenced is FenceReason.BUILD_FAILED)
    wait_until(lambda: [row.id for row in store.replicas.all()] == [strong.id])
    wait_until(lambda: _serves(strong, after))
    broken.clear()
    wait_until(lambda: _serves(weak, after))


def test_nobody_serves_an_epoch_before_everybody_is_ready_for_it(
    make: Make, store: Store, newer: Callable[[], int], wait_until: Wait, plane_app: ModuleType
) -> None:
    go_on = threading.Event()
    slowed = threading.Event()

    def build(epoch: Any, encoder: Any, previous: Any) -> Any:
        if slowed.is_set():
            go_on.wait(60)
        return plane_app.build_plainly(epoch, encoder, previous)

    quick, slow = make(), make(build=build)
    before = newer()
    wait_until(lambda: _serves(quick, before) and _serves(slow, before))
    slowed.set()
    after = newer()
    wait_until(lambda: any(row.ready_epoch == after for row in store.replicas.all()))
    assert [_epoch(quick), _epoch(slow)] == [before, before]
    assert store.epochs.standing() == Standing(current=before, newest=after)
    go_on.set()
    wait_until(lambda: _serves(quick, after) and _serves(slow, after))


def test_a_changed_policy_is_not_served(
    make: Make, behind_its_back: Act, newer: Callable[[], int], wait_until: Wait
) -> None:
    newer()
    behind_its_back("UPDATE policies SET sealed = :s", s=bytes(200))
    replica = make()
    wait_until(lambda: replica.fenced is FenceReason.POLICY_CORRUPT)


def test_a_policy_taken_off_the_list_behind_our_back_is_noticed(
    make: Make, behind_its_back: Act, newer: Callable[[], int], wait_until: Wait
) -> None:
    newer()
    newer()
    behind_its_back("UPDATE forget_requests SET state = 'revoked' WHERE seq = 1")
    replica = make()
    wait_until(lambda: replica.fenced is FenceReason.POLICY_CORRUPT)


def test_an_older_database_in_its_place_is_noticed(
    make: Make, behind_its_back: Act, newer: Callable[[], int], wait_until: Wait
) -> None:
    newer()
    number = newer()
    replica = make()
    wait_until(lambda: _epoch(replica) == number)
    behind_its_back("DELETE FROM epochs WHERE number = :n", n=number)
    wait_until(lambda: replica.fenced is FenceReason.STORE_WENT_BACK)


def test_a_build_longer_than_a_lease_fences_only_until_it_is_done(
    make: Make, newer: Callable[[], int], wait_until: Wait, plane_app: ModuleType
) -> None:
    go_on = threading.Event()

    def build(epoch: Any, encoder: Any, previous: Any) -> Any:
        if epoch.number:
            go_on.wait(60)
        return plane_app.build_plainly(epoch, encoder, previous)

    replica = make(build=build)
    wait_until(lambda: _epoch(replica) == 0)
    number = newer()
    wait_until(lambda: replica.fenced is FenceReason.BEHIND)
    go_on.set()
    wait_until(lambda: _epoch(replica) == number)


def test_without_the_store_it_stops_serving_and_comes_back(
    make: Make, behind_its_back: Act, wait_until: Wait
) -> None:
    replica = make()
    wait_until(lambda: replica.fenced is None)
    behind_its_back("ALTER TABLE replicas RENAME TO away")
    wait_until(lambda: replica.fenced is FenceReason.STORE_UNAVAILABLE)
    behind_its_back("ALTER TABLE away RENAME TO replicas")
    wait_until(lambda: replica.fenced is None)


def test_stopping_gives_the_lease_up(make: Make, store: Store, wait_until: Wait) -> None:
    replica = make()
    wait_until(lambda: replica.fenced is None)
    replica.stop()
    assert replica.fenced is FenceReason.STOPPED
    assert store.replicas.all() == ()


def test_expired_requests_leave_the_epoch(
    make: Make, store: Store, newer: Callable[..., int], wait_until: Wait
) -> None:
    number = newer(expires_at=1)
    replica = make()
    wait_until(lambda: _epoch(replica) == number + 1)
    rules: Any = replica.rules
    assert rules.listed.policies == ()
    (record,) = store.forget_requests.page(state=None, after=None, limit=1).records
    assert (record.state, record.content) == ("expired", None)


def test_fragmented_rules_are_merged_while_they_serve(
    make: Make, newer: Callable[[], int], wait_until: Wait, plane_app: ModuleType
) -> None:
    class Fragmented(plane_app.PlainRules):  # type: ignore[name-defined,misc]
        def compacted(self) -> Any:
            return plane_app.PlainRules(self.listed)

    number = newer()
    replica = make(build=lambda epoch, _encoder, _previous: Fragmented(epoch, fragmented=True))
    wait_until(lambda: _epoch(replica) == number and type(replica.rules) is plane_app.PlainRules)


def test_the_real_rules_are_built_where_no_others_are_given(
    store: Store, settings: Settings, newer: Callable[[], int], wait_until: Wait
) -> None:
    number = newer()
    replica = Replica(store, settings, lambda: cast("Encoder", None))
    replica.start()
    wait_until(lambda: replica.fenced is None)
    assert replica.rules.epoch == number
    (policy,) = store.epochs.load().policies
    text_filter = replica.rules.text_filter("default", "demo")
    text_filter.push("It was Ilse Vantongeren, I think.")
    text_filter.finish()
    assert text_filter.caught is not None
    assert text_filter.caught.policy == policy.digest
    replica.stop()


def test_nothing_of_the_list_is_logged(
    make: Make, wait_until: Wait, caplog: pytest.LogCaptureFixture, tmp_path: Path
) -> None:
    def build(*_: Any) -> Any:
        raise ValueError("Ilse Vantongeren")

    replica = make(build=build)
    wait_until(lambda: replica.fenced is FenceReason.BUILD_FAILED)
    assert "rules_build_failed" in caplog.text
    assert "Ilse" not in caplog.text
