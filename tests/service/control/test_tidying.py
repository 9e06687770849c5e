"""A running replica deletes what ended requests leave, and says when a key is missing."""

import secrets
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import cast

import pytest

from guards.policy import GuardSpec, Policy
from models.artifact import ArtifactMissing, ArtifactStore
from models.encoder import Encoder
from service.control.fence import FenceReason
from service.control.replica import Replica
from service.settings import Settings
from service.store import tidying
from service.store.forget_requests import NewForgetRequest
from service.store.key_service import key_service
from service.store.store import Store, open_store

Wait = Callable[[Callable[[], object]], None]


@pytest.fixture
def quick(settings: Settings) -> Settings:
    return settings.model_copy(update={"artifact_grace_s": 0.2, "upstream_timeout_s": 0.1})


@pytest.fixture
def replica(
    store: Store, quick: Settings, plane_app: ModuleType, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Replica]:
    monkeypatch.setattr(tidying, "EVERY_S", 0.1)
    found = Replica(store, quick, lambda: cast("Encoder", None), build=plane_app.build_plainly)
    found.start()
    yield found
    found.stop()


def filed(store: Store, artifact: str | None = None) -> str:
    request_id = f"fr_{secrets.token_hex(8)}"
    guards = (GuardSpec("steering", {"artifact": artifact}),) if artifact else ()
    policy = Policy(request_id, ("Ilse Vantongeren",), guards=guards)
    store.forget_requests.add(NewForgetRequest(request_id, {}, "auto", policy, "key_x"))
    return request_id


def there(artifacts: ArtifactStore, digest: str) -> bool:
    try:
        artifacts.open(digest)
    except ArtifactMissing:
        return False
    return True


def test_artifacts_of_an_ended_request_go(
    store: Store, quick: Settings, replica: Replica, wait_until: Wait
) -> None:
    artifacts = ArtifactStore(quick.artifacts, b"k" * 32)
    mine, other = (artifacts.put({"n": n, "blind": "0" * 64}, sealed=True) for n in range(2))
    request_id = filed(store, mine)
    filed(store, other)
    wait_until(lambda: replica.fenced is None)
    store.forget_requests.revoke(request_id, "key_x")
    wait_until(lambda: not there(artifacts, mine))
    assert there(artifacts, other)


def test_a_key_that_is_missing_later_is_the_reason_and_comes_back(
    store: Store, quick: Settings, replica: Replica, wait_until: Wait
) -> None:
    filed(store)
    wait_until(lambda: replica.fenced is None)
    path = quick.store_key_path
    old = path.read_text()
    another = open_store(quick)
    try:
        another.rotation().run(key_service(quick), new_secret=True)
        new, _ = path.read_text(), path.write_text(old)  # this process did not get the new secret
        filed(another)
        wait_until(lambda: FenceReason.KEY_UNAVAILABLE in (replica.fenced, replica.refusal))
        path.write_text(new)
        wait_until(lambda: replica.fenced is None and replica.refusal is None)
    finally:
        another.close()
