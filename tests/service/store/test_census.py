"""The numbers that metrics show of the store."""

from guards.policy import Policy
from service.store.forget_requests import NewForgetRequest
from service.store.state import State
from service.store.store import Store


def _add(store: Store, number: int) -> str:
    name = f"fr_{number}"
    new = NewForgetRequest(name, {"subject": "x"}, "auto", Policy(name, ("Ilse Vex",)), "key_x")
    store.forget_requests.add(new)
    return name


def test_an_empty_store_has_nothing(store: Store) -> None:
    census = store.census()
    assert (census.states, census.newest_epoch, census.oldest_waiting) == ({}, 0, None)


def test_it_counts_by_state_and_says_since_when_the_oldest_waits(store: Store) -> None:
    first, second, _ = (_add(store, number) for number in range(3))
    store.forget_requests.revoke(first, "key_x")
    census = store.census()
    assert census.states == {State.RECEIVED: 2, State.REVOKED: 1}
    assert census.newest_epoch == store.epochs.newest() == 4
    record = store.forget_requests.get(second)
    assert census.oldest_waiting == record.created_at
