"""Which prepared epoch is served: the newest up to the current one."""

from types import SimpleNamespace
from typing import cast

from hypothesis import given
from hypothesis import strategies as st

from guards.rules import Rules
from service.control.loader import Loaded
from service.control.prepared import MOST, Prepared
from service.store.replicas import ReplicaRow, agreed_epoch


def _loaded(number: int) -> Loaded:
    return Loaded(number, {}, cast("Rules", SimpleNamespace()))


def test_the_newest_up_to_the_current_one_is_taken_and_those_before_it_go() -> None:
    prepared = Prepared()
    for number in (3, 5, 8):
        prepared.add(_loaded(number))
    assert prepared.take(2) is None
    assert prepared.take(6) == _loaded_like(5)
    assert prepared.take(6) is None
    assert prepared.newest == _loaded_like(8)


def _loaded_like(number: int) -> object:
    class Same:
        def __eq__(self, other: object) -> bool:
            return isinstance(other, Loaded) and other.number == number

        __hash__ = None  # type: ignore[assignment]

    return Same()


@given(st.integers(1, 20))
def test_the_oldest_and_the_newest_always_stay(count: int) -> None:
    prepared = Prepared()
    for number in range(1, count + 1):
        prepared.add(_loaded(number))
    assert prepared.newest == _loaded_like(count)
    assert len(prepared._waiting) <= MOST
    assert prepared.take(1) == _loaded_like(1)


class Three:
    """Three replicas by the words of docs/replicas.md alone: numbers, no store, no threads."""

    def __init__(self) -> None:
        self.newest = self.current = 0
        self.served, self.ready = [0, 0, 0], [0, 0, 0]
        self.prepared = [Prepared() for _ in range(3)]

    def commit(self, _: int) -> None:
        self.newest += 1

    def load(self, number: int) -> None:
        if self.newest > self.ready[number]:
            self.ready[number] = self.newest
            self.prepared[number].add(_loaded(self.newest))
        rows = tuple(ReplicaRow(str(i), self.served[i], 1, self.ready[i]) for i in range(3))
        agreed = agreed_epoch(rows)
        assert agreed == min(self.ready)
        self.current = max(self.current, agreed)

    def switch(self, number: int) -> None:
        taken = self.prepared[number].take(self.current)
        if taken is not None:
            assert taken.number > self.served[number]
            self.served[number] = taken.number
        # Every other one could serve it too, or what came after it.
        assert self.served[number] <= min(self.ready)


@given(st.lists(st.tuples(st.sampled_from(["commit", "load", "switch"]), st.integers(0, 2))))
def test_nobody_serves_what_another_is_not_ready_for_and_all_end_up_at_the_newest(
    schedule: list[tuple[str, int]],
) -> None:
    three = Three()
    for act, number in schedule:
        getattr(three, act)(number)
    for number in range(3):
        three.load(number)
    for number in range(3):
        three.switch(number)
    assert three.served == [three.newest] * 3


def test_who_could_not_load_it_has_no_say_and_where_nobody_could_nothing_changes() -> None:
    able, unable = ReplicaRow("a", 4, 1, 5, 0), ReplicaRow("b", 4, 1, 4, 5)
    assert agreed_epoch((able, unable)) == 5
    assert agreed_epoch((unable, unable)) is None
    assert agreed_epoch((ReplicaRow("a", 4, 1, 4, 0), unable)) == 4
    assert agreed_epoch((ReplicaRow("b", 4, 1, 6, 5), able)) == 5
    assert agreed_epoch(()) is None
