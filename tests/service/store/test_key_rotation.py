"""Rotation: at any moment everything can be read, and a broken one is finished by the next."""

import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

from guards.policy import Policy
from service.settings import Settings
from service.store.forget_requests import NewForgetRequest
from service.store.key_service import (
    FileService,
    KeyUnavailable,
    key_id,
    key_service,
    parse_secrets,
)
from service.store.store import Store, open_store

BACKENDS = ("sqlite", "postgresql")

OWNERS = 1500
PROGRAM = """
import sys, time
from pathlib import Path
from service.settings import Settings
from service.store.key_service import key_service
from service.store.store import open_store
settings = Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[3])
store = open_store(settings)
def said(done):
    print(done, flush=True)
    time.sleep(0.05)
store.rotation().run(key_service(settings), new_secret=sys.argv[2] == "new", progress=said)
"""


def new(number: int) -> NewForgetRequest:
    policy = Policy(f"fr_{number}", ("Ilse Vantongeren",))
    return NewForgetRequest(f"fr_{number}", {"number": number}, "auto", policy, "key_x")


@contextmanager
def another(settings: Settings) -> Iterator[Store]:
    """A store as another process has it."""
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def can_read(settings: Settings, number: int) -> bool:
    with another(settings) as store:
        assert store.epochs.load().policies
        return store.forget_requests.get(f"fr_{number}").content == {"number": number}


def fill(store: Store) -> dict[str, bytes]:
    owners = [f"fr_key_{number}" for number in range(OWNERS)]
    with store._database.writing() as connection:
        return {owner: store.seals.keys.ensure(connection, owner) for owner in owners}


def keys_of(store: Store, owners: dict[str, bytes]) -> dict[str, bytes]:
    with store._database.reading() as connection:
        return dict(store.seals.keys.find(connection, owners))


def broken_off(settings: Settings, after: int, secret: str) -> None:
    """Run a rotation in a process of its own and kill it after some of its transactions."""
    command = [sys.executable, "-c", PROGRAM, str(settings.data_dir), secret, settings.database_url]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        for _ in range(after):
            assert process.stdout.readline()
        process.send_signal(signal.SIGKILL)


@pytest.mark.parametrize("secret", ["same", "new"])
def test_killed_at_any_moment_it_is_finished_by_the_next(
    store: Store, settings: Settings, secret: str
) -> None:
    store.forget_requests.add(new(1))
    owners = fill(store)
    first = parse_secrets(settings.store_key_path.read_text())
    (old,) = store.rotation().standing()
    for after in (1, 3):
        broken_off(settings, after, secret)
        assert keys_of(store, owners) == owners
        assert len(store.rotation().standing()) == 2
        store.forget_requests.add(new(10 + after))
    with another(settings) as other:
        assert keys_of(other, owners) == owners
        other.rotation().run(key_service(settings), new_secret=secret == "new")
        standing = other.rotation().standing()
        assert len(standing) == 1
        assert old not in standing
        assert sum(standing.values()) == OWNERS + 4  # three requests and the installation
    # A store that was open all the while, and one that was not.
    assert keys_of(store, owners) == owners
    assert store.forget_requests.get("fr_11").content
    assert can_read(settings, 1)
    now = parse_secrets(settings.store_key_path.read_text())
    assert len(now) == 1
    assert (now == first) == (secret == "same")


def test_an_open_store_takes_up_the_new_key_while_it_serves(
    store: Store, settings: Settings
) -> None:
    owners, stop, failed = fill(store), threading.Event(), []

    def serve() -> None:
        number = 100
        while not stop.is_set():
            try:
                store.forget_requests.add(new(number))
                assert store.forget_requests.get(f"fr_{number}").content
                assert keys_of(store, owners) == owners
            except Exception as error:  # noqa: BLE001 - a thread's: the test fails with it
                failed.append(error)
                return
            number += 1

    thread = threading.Thread(target=serve)
    thread.start()
    with another(settings) as other:
        for _ in range(3):
            other.rotation().run(key_service(settings), new_secret=True)
    stop.set()
    thread.join()
    assert failed == []
    assert len(store.rotation().standing()) == 1


def test_the_old_secret_opens_nothing_after_a_rotation(store: Store, settings: Settings) -> None:
    store.forget_requests.add(new(1))
    old = settings.store_key_path.read_text()
    store.rotation().run(key_service(settings), new_secret=True)
    new_text = settings.store_key_path.read_text()
    settings.store_key_path.write_text(old)
    with pytest.raises(KeyUnavailable, match="does not hold"):
        open_store(settings)
    settings.store_key_path.write_text(new_text)
    assert can_read(settings, 1)
    assert len(store.rotation().standing()) == 1


def test_a_secret_from_the_environment_is_not_ours_to_change(settings: Settings) -> None:
    given = settings.model_copy(update={"store_key": "e" * 40})
    with another(given) as store:
        with pytest.raises(ValueError, match="only a key file"):
            store.rotation().run(key_service(given), new_secret=True)
        store.rotation().run(key_service(given))
        assert len(store.rotation().standing()) == 1


def test_a_key_that_goes_missing_later_is_said_and_comes_back(
    store: Store, settings: Settings
) -> None:
    store.forget_requests.add(new(1))
    file = FileService(settings.store_key_path)
    text = file.path.read_text()
    with another(settings) as other:
        other.rotation().run(file, new_secret=True)
        both = file.path.read_text() + text
        file.path.write_text(text)  # this machine did not get the new secret
        with pytest.raises(KeyUnavailable):
            store.epochs.load()
        other.forget_requests.add(new(2))
        file.path.write_text(both)
        assert len(store.epochs.load().policies) == 2


def test_damage_to_a_master_key_is_said(
    store: Store, settings: Settings, behind_its_back: Callable[..., None]
) -> None:
    (secret,) = parse_secrets(settings.store_key_path.read_text())
    behind_its_back("UPDATE master_keys SET wrapped = :w", w=b"\x01" + key_id(secret) + bytes(60))
    with pytest.raises(KeyUnavailable, match="damaged"):
        open_store(settings)
