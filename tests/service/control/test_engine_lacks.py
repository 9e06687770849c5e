"""A policy whose guard the engine cannot run is not served, and the reason names both."""

import logging
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from guards.needs import Capabilities
from guards.policy import Epoch, GuardSpec, Policy
from guards.rules import Rules
from service.control.engine_abilities import EngineAbilities
from service.control.fence import FenceReason
from service.control.replica import Replica, ReplicaFenced
from service.settings import Settings
from service.store.forget_requests import NewForgetRequest
from service.store.store import Store

Wait = Callable[[Callable[[], object]], None]
NAME = "Ilse Vantongeren"
ABLE = Capabilities(frozenset({"embedding"}), "V1")
UNABLE = Capabilities(frozenset({"logits"}), "V1")
SENTENCE = "'embedding_corruption' needs embedding, which this engine does not offer"


def build(epoch: Epoch, _encoder: Any, previous: Rules | None) -> Rules:
    return Rules.build(epoch, None, 0.7, previous)


@pytest.fixture
def engine() -> EngineAbilities:
    return EngineAbilities()


@pytest.fixture
def replica(store: Store, settings: Settings, engine: EngineAbilities) -> Iterator[Replica]:
    loader: Any = object
    replica = Replica(store, settings, loader, build=build, engine=engine)
    replica.start()
    yield replica
    replica.stop()


def forget(store: Store, *guards: GuardSpec) -> int:
    request_id = f"fr_{secrets.token_hex(8)}"
    policy = Policy(request_id, (NAME,), guards=(*guards, GuardSpec("text_filter")))
    new = NewForgetRequest(request_id, {}, "auto", policy, "key_x")
    return store.forget_requests.add(new).record.epoch


def serves(replica: Replica, number: int) -> bool:
    try:
        return replica.rules.epoch == number
    except ReplicaFenced:
        return False


def acked(store: Store, number: int) -> bool:
    return any(row.acked_epoch == number for row in store.replicas.all())


CORRUPTION = GuardSpec("embedding_corruption", {"artifact": "sha256:" + "a" * 64})


def test_it_is_fenced_by_name_for_as_long_as_the_engine_lacks_it(
    store: Store,
    replica: Replica,
    engine: EngineAbilities,
    wait_until: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    engine.learn(UNABLE)
    first = forget(store)
    wait_until(lambda: serves(replica, first))
    second = forget(store, CORRUPTION)
    wait_until(lambda: replica.fenced is FenceReason.ENGINE_LACKS)
    assert not serves(replica, first)
    assert [str(lack) for lack in replica.lacking] == [SENTENCE]
    with pytest.raises(ReplicaFenced, match="engine_lacks"):
        _ = replica.rules
    # It answers nobody, so nobody has to wait for it.
    wait_until(lambda: acked(store, second))
    wait_until(lambda: "guard=embedding_corruption needs=embedding" in caplog.text)
    assert NAME not in caplog.text
    engine.learn(ABLE)
    assert serves(replica, second)
    engine.learn(UNABLE)
    assert replica.fenced is FenceReason.ENGINE_LACKS


def test_guards_that_act_in_the_gateway_need_nothing(
    store: Store, replica: Replica, engine: EngineAbilities, wait_until: Wait
) -> None:
    engine.learn(Capabilities(frozenset(), "V1", history=False))
    number = forget(store, GuardSpec("refusal"), GuardSpec("agent_rewrite"))
    wait_until(lambda: serves(replica, number))


def test_it_says_so_once(
    store: Store,
    replica: Replica,
    engine: EngineAbilities,
    wait_until: Wait,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.ERROR)
    engine.learn(UNABLE)
    for _ in range(2):
        number = forget(store, CORRUPTION)
        wait_until(lambda wanted=number: acked(store, wanted))  # type: ignore[misc]
    wait_until(lambda: "engine_lacks" in caplog.text)
    assert caplog.text.count("engine_lacks guard=") == 1
