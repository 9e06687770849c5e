"""The store's keys: where they come from, what a missing one says, what a destroyed one means."""

import shutil
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from guards.policy import GuardSpec, Policy
from models.artifact import ArtifactMissing, ArtifactStore
from service.settings import Settings
from service.store import key_service as key_services
from service.store.artifact_collector import ArtifactCollector
from service.store.artifact_uses import drop_unused
from service.store.data_keys import INSTALLATION
from service.store.database import Database, open_database
from service.store.epochs import make_current
from service.store.forget_requests import NewForgetRequest
from service.store.key_service import KeyUnavailable, key_service, parse_secrets
from service.store.sealing import SealBroken
from service.store.store import Store, open_store

BACKENDS = ("sqlite", "postgresql")

SUBJECT = "Ilse Vantongeren"
KMS = """
import base64, pathlib, sys
act, context = sys.argv[2:]
data = base64.b64decode(sys.stdin.readline())
pad = (pathlib.Path(sys.argv[1]).read_bytes() + context.encode() * 9)[:64]
mixed = bytes(a ^ b for a, b in zip(data[: len(pad)], pad))
sys.stdout.write(base64.b64encode(mixed).decode() + "\\n")
"""


def new(number: int, artifact: str | None = None) -> NewForgetRequest:
    guards = (GuardSpec("steering", {"artifact": artifact}),) if artifact else ()
    policy = Policy(f"fr_{number}", (SUBJECT,), guards=guards)
    return NewForgetRequest(f"fr_{number}", {"subject": SUBJECT}, "auto", policy, "key_x")


def rows(settings: Settings, query: str) -> list[Any]:
    database = open_database(settings.database)
    try:
        with database.reading() as connection:
            return [tuple(row) for row in connection.exec_driver_sql(query)]
    finally:
        database.close()


def reopened(settings: Settings) -> Iterator[Store]:
    store = open_store(settings)
    try:
        yield store
    finally:
        store.close()


def can_read(settings: Settings, request_id: str) -> bool:
    for store in reopened(settings):
        content = store.forget_requests.get(request_id).content
        assert content in ({"subject": SUBJECT}, None)
        assert len(store.epochs.load().policies) > 0
        return content is not None
    return False


@pytest.fixture
def by_command(settings: Settings, tmp_path: Path) -> Settings:
    program, secret = tmp_path / "kms.py", tmp_path / "kms.secret"
    program.write_text(KMS)
    secret.write_bytes(b"k" * 32)
    command = f"{sys.executable} {program} {secret}"
    return settings.model_copy(update={"kms": "command", "kms_command": command})


def test_each_request_has_a_key_of_its_own(store: Store, settings: Settings) -> None:
    for number in range(3):
        store.forget_requests.add(new(number))
    owners = {owner for (owner,) in rows(settings, "SELECT owner FROM data_keys")}
    assert owners == {INSTALLATION, "fr_0", "fr_1", "fr_2"}


def test_ending_a_request_makes_copies_of_its_ciphertext_unreadable(
    store: Store, settings: Settings
) -> None:
    for number in range(2):
        store.forget_requests.add(new(number))
    taken = rows(settings, "SELECT id, sealed FROM forget_requests ORDER BY seq")
    place = "forget_requests/{}".format
    with store._database.reading() as connection:
        for request_id, sealed in taken:
            opened = store.seals.open(connection, request_id, place(request_id), sealed)
            assert opened == {"subject": SUBJECT}
    store.forget_requests.revoke("fr_0", "key_x")
    with store._database.reading() as connection:
        with pytest.raises(SealBroken):
            store.seals.open(connection, "fr_0", place("fr_0"), taken[0][1])
        with pytest.raises(SealBroken):
            # Nor with anybody else's key.
            store.seals.open(connection, "fr_1", place("fr_0"), taken[0][1])
        assert store.seals.open(connection, "fr_1", place("fr_1"), taken[1][1])


def test_expiry_destroys_the_key_too(store: Store, settings: Settings) -> None:
    request = new(1)
    store.forget_requests.add(NewForgetRequest(**{**_fields(request), "expires_at": 5}))
    store.forget_requests.expire_due(6)
    assert rows(settings, "SELECT owner FROM data_keys") == [(INSTALLATION,)]


def _fields(request: NewForgetRequest) -> dict[str, Any]:
    return {name: getattr(request, name) for name in request.__dataclass_fields__}


def test_a_missing_key_file_is_said_and_not_made_anew(store: Store, settings: Settings) -> None:
    store.forget_requests.add(new(1))
    settings.store_key_path.unlink()
    with pytest.raises(KeyUnavailable, match=r"store\.key cannot be read"):
        open_store(settings)
    assert not settings.store_key_path.exists()


def test_a_wrong_key_is_said_by_id(store: Store, settings: Settings) -> None:
    right = settings.store_key_path.read_text()
    settings.store_key_path.write_text("0" * 64)
    with pytest.raises(KeyUnavailable, match="does not hold the key") as raised:
        open_store(settings)
    assert key_services.key_id(right.strip().encode()).hex() in str(raised.value)
    assert right.strip() not in str(raised.value)


def test_the_key_may_come_from_the_environment(settings: Settings) -> None:
    by_environment = settings.model_copy(update={"store_key": "e" * 40})
    for store in reopened(by_environment):
        store.forget_requests.add(new(1))
    assert not settings.store_key_path.exists()
    assert can_read(by_environment, "fr_1")
    # A new secret in front of the old one: both are good, and only the old one is needed yet.
    assert can_read(settings.model_copy(update={"store_key": "n" * 40 + ",\n" + "e" * 40}), "fr_1")
    with pytest.raises(KeyUnavailable, match="LETHE_STORE_KEY does not hold"):
        open_store(settings.model_copy(update={"store_key": "n" * 40}))
    with pytest.raises(KeyUnavailable, match="shorter"):
        open_store(settings.model_copy(update={"store_key": "short"}))


def test_a_command_may_hold_the_keys(by_command: Settings, tmp_path: Path) -> None:
    for store in reopened(by_command):
        store.forget_requests.add(new(1))
    assert not by_command.store_key_path.exists()
    assert can_read(by_command, "fr_1")
    (tmp_path / "kms.secret").write_bytes(b"other" * 8)
    with pytest.raises(KeyUnavailable, match="damaged"):
        open_store(by_command)
    (tmp_path / "kms.py").write_text("raise SystemExit(3)")
    with pytest.raises(KeyUnavailable, match="status 3"):
        open_store(by_command)


def test_a_kms_may_come_from_another_package(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Found:
        def load(self) -> Any:
            return lambda _: key_services.SecretService(lambda: (b"p" * 32,), "the test's KMS")

    monkeypatch.setattr(
        key_services,
        "entry_points",
        lambda group, name: [Found()] if (group, name) == ("lethe.kms", "mine") else [],
    )
    assert isinstance(
        key_service(settings.model_copy(update={"kms": "mine"})), key_services.SecretService
    )
    with pytest.raises(KeyUnavailable, match="no installed package"):
        key_service(settings.model_copy(update={"kms": "other"}))


def test_only_one_source_of_the_key_may_be_given(settings: Settings) -> None:
    with pytest.raises(ValueError, match="only one of"):
        Settings(data_dir=settings.data_dir, store_key="e" * 40, kms="command")


def test_a_wrapped_key_is_of_no_use_to_another_request(
    store: Store, behind_its_back: Callable[..., None]
) -> None:
    for number in range(2):
        store.forget_requests.add(new(number))
    behind_its_back(
        "UPDATE data_keys SET wrapped = (SELECT wrapped FROM data_keys WHERE owner = 'fr_0')"
        " WHERE owner = 'fr_1'"
    )
    with pytest.raises(KeyUnavailable, match="damaged"):
        store.epochs.load()


def test_keys_elsewhere_go_once_the_end_is_durable(settings: Settings, tmp_path: Path) -> None:
    apart = settings.model_copy(update={"keys_url": f"sqlite:///{tmp_path / 'keys' / 'keys.db'}"})
    clock = [1000.0]
    for store in reopened(apart):
        for number in range(2):
            store.forget_requests.add(new(number))
        assert rows(settings, "SELECT owner FROM data_keys") == []
        with store._database.reading() as connection:
            # A key whose request never came to be, since the process died in between.
            store.seals.keys.ensure(connection, "fr_lost")
        store.forget_requests.revoke("fr_0", "key_x")
        tidying = store.tidying(apart)
        tidying._clock = lambda: clock[0]
        tidying.step()
        with store._database.reading() as connection:
            assert store.seals.keys.owners(connection) == {INSTALLATION, "fr_1", "fr_lost"}
        for _ in range(3):
            clock[0] += 400
            tidying.step()
        with store._database.reading() as connection:
            assert store.seals.keys.owners(connection) == {INSTALLATION, "fr_1"}
    assert can_read(apart, "fr_1")
    with pytest.raises(KeyUnavailable, match="key"):
        open_store(settings)  # the keys are not beside the rest


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_log_of_old_pages_is_emptied_after_an_end(store: Store, settings: Settings) -> None:
    store.forget_requests.add(new(1))
    wrapped = rows(settings, "SELECT wrapped FROM data_keys WHERE owner = 'fr_1'")[0][0]
    store.forget_requests.revoke("fr_1", "key_x")
    files = [settings.data_dir / name for name in ("lethe.db", "lethe.db-wal")]
    assert any(wrapped in file.read_bytes() for file in files)
    store.tidying(settings).step()
    assert not any(wrapped in file.read_bytes() for file in files)


def test_a_store_of_the_version_before_is_taken_over(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    _old_store(settings)
    assert can_read(settings, "fr_old")
    owners = rows(settings, "SELECT owner FROM data_keys ORDER BY owner")
    assert owners == [("fr_old",), (INSTALLATION,)]
    for store in reopened(settings):
        store.forget_requests.add(new(7))
        store.forget_requests.revoke("fr_old", "key_x")
        assert [p.forget_request for p in store.epochs.load().policies] == ["fr_7"]


def test_a_store_of_the_version_before_needs_its_key(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    _old_store(settings)
    settings.store_key_path.unlink()
    with pytest.raises(KeyUnavailable):
        open_store(settings)
    assert not settings.store_key_path.exists()


def _old_store(settings: Settings) -> None:
    """One as it was when the store's key sealed everything itself."""
    from service.store.epochs import signed_as
    from service.store.sealing import Seal

    store = open_store(settings)
    store.forget_requests.add(new(1))
    secret = parse_secrets(settings.store_key_path.read_text())[0]
    old = Seal(secret)
    policy = Policy("fr_old", (SUBJECT,))
    with store._database.writing() as connection:
        execute = connection.exec_driver_sql
        execute("DELETE FROM life_events")
        execute("DELETE FROM policies")
        execute("DELETE FROM named_artifacts")
        execute("DELETE FROM data_keys")
        execute("DELETE FROM master_keys")
        execute(
            "UPDATE forget_requests SET id = 'fr_old', policy = ?, sealed = ?",
            (policy.digest, old.close("forget_requests/fr_old", {"subject": SUBJECT})),
        )
        execute(
            "INSERT INTO policies VALUES (?, 'fr_old', ?, 0)",
            (policy.digest, old.close(f"policies/{policy.digest}", policy.to_json())),
        )
        signature = signed_as(connection, old, 1)
        execute("UPDATE epochs SET signature = ?", (signature,))
    store.close()


class Bench:
    """A collector with a clock that the test turns, and its artifacts."""

    def __init__(self, store: Store, settings: Settings) -> None:
        self.store = store
        self.database: Database = store._database
        self.artifacts = ArtifactStore(settings.artifacts, b"k" * 32)
        self.now = 0.0
        self.collector = self.new_collector()

    def new_collector(self) -> ArtifactCollector:
        return ArtifactCollector(self.database, self.artifacts, 60.0, lambda: self.now)

    def made(self, note: str) -> str:
        return self.artifacts.put({"note": note, "blind": "0" * 64}, sealed=True)

    def serve_newest(self) -> None:
        with self.database.writing() as connection:
            make_current(connection, self.store.epochs.newest())

    def wait_and_collect(self, seconds: float = 61.0) -> int:
        self.now += seconds
        return self.collector.step()

    def there(self, digest: str) -> bool:
        try:
            self.artifacts.open(digest)
        except ArtifactMissing:
            return False
        return True


@pytest.fixture
def bench(store: Store, settings: Settings) -> Bench:
    return Bench(store, settings)


def test_artifacts_of_an_ended_request_go_after_the_grace(bench: Bench) -> None:
    mine, shared, unnamed = map(bench.made, ("mine", "shared", "unnamed"))
    for number, artifact in enumerate((mine, shared, shared)):
        bench.store.forget_requests.add(new(number, artifact))
    bench.serve_newest()
    assert bench.wait_and_collect() == bench.wait_and_collect() == 0
    bench.store.forget_requests.revoke("fr_0", "key_x")
    bench.store.forget_requests.revoke("fr_1", "key_x")
    # Not while an earlier epoch is still the one that is served, however long.
    assert bench.wait_and_collect() == bench.wait_and_collect(1000) == 0
    bench.serve_newest()
    assert bench.wait_and_collect(0) == bench.wait_and_collect(59) == 0
    assert bench.there(mine)
    assert bench.wait_and_collect(2) == 1
    assert [bench.there(each) for each in (mine, shared, unnamed)] == [False, True, True]
    assert bench.wait_and_collect() == 0


def test_an_artifact_that_is_named_again_stays(bench: Bench) -> None:
    digest = bench.made("again")
    bench.store.forget_requests.add(new(0, digest))
    bench.store.forget_requests.revoke("fr_0", "key_x")
    bench.serve_newest()
    bench.collector.step()
    bench.store.forget_requests.add(new(1, digest))
    bench.serve_newest()
    assert bench.wait_and_collect() == 0
    assert bench.there(digest)


def test_what_was_made_for_a_request_and_never_named_can_be_dropped(bench: Bench) -> None:
    digest = bench.made("a candidate that lost")
    with bench.database.writing() as connection:
        drop_unused(connection, "fr_0", [digest, digest], 0)
        drop_unused(connection, "fr_0", [digest], 0)
    bench.collector.step()
    assert bench.wait_and_collect() == 1
    assert not bench.there(digest)


def test_a_deletion_that_was_broken_off_is_done_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    digest = bench.made("half gone")
    bench.store.forget_requests.add(new(0, digest))
    bench.store.forget_requests.revoke("fr_0", "key_x")
    bench.serve_newest()
    bench.collector.step()

    def fails(_: Path) -> None:
        raise OSError("the disk")

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rmdir", fails)
        with pytest.raises(OSError, match="disk"):
            bench.wait_and_collect()
    assert not bench.there(digest)
    assert bench.wait_and_collect() == 1
    assert not bench.artifacts._folder(digest).exists()
    shutil.rmtree(bench.artifacts.root)
    assert bench.wait_and_collect() == 0
