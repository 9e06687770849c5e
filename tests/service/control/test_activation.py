"""A change is answered only when it holds on every replica that may be serving."""

import asyncio
import threading
from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest

from service.control.activation import Activation, NotEnforcedYet
from service.control.lease import margin
from service.control.replica import Replica
from service.settings import Settings
from service.store.replicas import Report
from service.store.store import Store

BACKENDS = ("sqlite", "postgresql")
Wait = Callable[[Callable[[], object]], None]


async def test_it_waits_for_a_replica_that_is_still_building(
    store: Store,
    settings: Settings,
    newer: Callable[[], int],
    wait_until: Wait,
    plane_app: ModuleType,
) -> None:
    go_on = threading.Event()

    def build(epoch: Any, encoder: Any, previous: Any) -> Any:
        if epoch.number:
            go_on.wait(60)
        return plane_app.build_plainly(epoch, encoder, previous)

    patient = settings.model_copy(update={"lease_s": 60.0})
    replica = Replica(store, patient, object, build=build)  # type: ignore[arg-type]
    replica.start()
    wait_until(lambda: replica.fenced is None)
    waiting = asyncio.create_task(Activation(store, 60.0, replica).everywhere(newer()))
    done, _ = await asyncio.wait({waiting}, timeout=0.5)
    assert not done
    go_on.set()
    await asyncio.wait_for(waiting, 30)
    assert plane_app.plain(replica).touches("Ilse Vantongeren")
    replica.stop()


async def test_without_replicas_nothing_is_waited_for(
    store: Store, newer: Callable[[], int]
) -> None:
    await Activation(store, 60.0).everywhere(newer())


async def test_a_dead_replica_is_waited_for_until_its_lease_is_over(
    store: Store, newer: Callable[[], int]
) -> None:
    store.replicas.renew("rep_dead", Report(0, 0))
    clock = asyncio.get_running_loop()
    began = clock.time()
    await Activation(store, 0.3).everywhere(newer())
    assert clock.time() - began >= 0.3 + margin(0.3)


async def test_a_replica_that_lives_and_never_follows_is_not_success(
    store: Store, newer: Callable[[], int]
) -> None:
    number = newer()
    activation = Activation(store, 0.2)
    store.replicas.renew("rep_stuck", Report(number, number))
    ended = threading.Event()

    def renew() -> None:
        while not ended.wait(0.02):
            store.replicas.renew("rep_stuck", Report(number, number))

    thread = threading.Thread(target=renew)
    thread.start()
    with pytest.raises(NotEnforcedYet):
        await activation.everywhere(newer())
    ended.set()
    thread.join()
