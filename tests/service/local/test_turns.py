"""Generations take turns."""

from collections.abc import Iterator
from queue import Queue
from threading import Event
from typing import Any

import pytest

from service.local.turns import Ended, Turns


@pytest.fixture
def turns() -> Iterator[Turns]:
    made = Turns(slots=2)
    yield made
    made.stop()


def collected(queue: "Queue[Any]") -> list[Any]:
    items = []
    while not isinstance(item := queue.get(timeout=10), Ended):
        items.append(item)
    return items


def test_steps_alternate_between_generations(turns: Turns) -> None:
    order: list[str] = []
    may_begin = Event()

    def first() -> Iterator[str]:
        may_begin.wait(10)
        yield from ()

    def steps(name: str) -> Iterator[str]:
        for _ in range(3):
            order.append(name)
            yield name

    # Both wait when the turns begin: they come from two threads.
    turns.submit(first(), lambda _: None)
    queues: list[Queue[Any]] = [Queue(), Queue()]
    for name, queue in zip("ab", queues, strict=True):
        turns.submit(steps(name), queue.put)
    may_begin.set()
    assert [collected(queue) for queue in queues] == [["a"] * 3, ["b"] * 3]
    assert order == ["a", "b", "a", "b", "a", "b"]


def test_no_more_than_the_slots_run_and_the_rest_follow_in_order(turns: Turns) -> None:
    running: set[int] = set()
    most = 0
    begun: list[int] = []

    def steps(number: int) -> Iterator[int]:
        nonlocal most
        running.add(number)
        begun.append(number)
        for step in range(3):
            most = max(most, len(running))
            yield step
        running.remove(number)

    queues: list[Queue[Any]] = [Queue() for _ in range(5)]
    for number, queue in enumerate(queues):
        turns.submit(steps(number), queue.put)
    assert [collected(queue) for queue in queues] == [[0, 1, 2]] * 5
    assert most == 2
    assert begun == sorted(begun)


def test_an_error_ends_one_generation_and_says_nothing_of_it(
    turns: Turns, caplog: pytest.LogCaptureFixture
) -> None:
    def failing() -> Iterator[int]:
        yield 1
        raise ValueError("Zebulon")

    bad: Queue[Any] = Queue()
    good: Queue[Any] = Queue()
    turns.submit(failing(), bad.put)
    turns.submit(iter([1, 2, 3]), good.put)
    assert bad.get(timeout=10) == 1
    assert bad.get(timeout=10) == Ended(failed=True)
    assert collected(good) == [1, 2, 3]
    assert "ValueError" in caplog.text
    assert "Zebulon" not in caplog.text


def test_a_cancelled_generation_takes_no_further_step(turns: Turns) -> None:
    steps_taken: list[int] = []
    may_go_on = Event()

    def steps() -> Iterator[int]:
        for step in range(1000):
            steps_taken.append(step)
            yield step
            may_go_on.wait(10)

    queue: Queue[Any] = Queue()
    ticket = turns.submit(steps(), queue.put)
    queue.get(timeout=10)
    ticket.cancel()
    may_go_on.set()
    after: Queue[Any] = Queue()
    turns.submit(iter(()), after.put)
    collected(after)
    assert len(steps_taken) <= 2


def test_nothing_is_taken_after_the_end(turns: Turns) -> None:
    turns.stop()
    with pytest.raises(RuntimeError):
        turns.submit(iter(()), print)
