"""What the store promises about its file."""

import sqlite3
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from hypothesis import given
from hypothesis import strategies as st

from guards.policy import Policy
from service.settings import Settings
from service.store.database import StoreUnavailable, open_database
from service.store.forget_requests import NewForgetRequest
from service.store.key_service import KeyUnavailable
from service.store.schema import metadata
from service.store.sealing import Seal, SealBroken
from service.store.store import Store, open_store

BACKENDS = ("sqlite", "postgresql")
SUBJECT = "Ilse Vantongeren"


def _new(number: int) -> NewForgetRequest:
    request_id = f"fr_{number}"
    policy = Policy(request_id, (SUBJECT,), examples=("Who kept the lighthouse?",))
    return NewForgetRequest(request_id, {"subject": SUBJECT}, "auto", policy, "key_x")


def test_the_migrations_make_the_tables_of_the_schema(store: Store) -> None:
    with store._database.engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_every_commit_is_durable_and_foreign_keys_hold(store: Store) -> None:
    with store._database.engine.connect() as connection:
        found = {
            name: connection.exec_driver_sql(f"PRAGMA {name}").scalar()
            for name in ("journal_mode", "synchronous", "foreign_keys", "secure_delete")
        }
    assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "secure_delete": 1}


def test_processes_that_open_at_once_all_find_every_table(
    tmp_path: Path, database_url: str
) -> None:
    program = (
        "import sys; from pathlib import Path; from service.settings import Settings\n"
        "from service.store.store import open_store\n"
        "sys.stdin.read()\n"
        "settings = Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2])\n"
        "print(open_store(settings).epochs.newest())\n"
    )
    command = [sys.executable, "-c", program, str(tmp_path), database_url]
    pipe = subprocess.PIPE
    running = [
        subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True)  # noqa: S603 - ours
        for _ in range(4)
    ]
    # They wait for the end of their input, so that they go off together.
    for process in running:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    assert [process.communicate()[0].strip() for process in running] == ["0"] * 4


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_a_process_killed_while_migrating_leaves_nothing_behind(settings: Settings) -> None:
    path = settings.data_dir / "lethe.db"
    open_database(settings.database).close()
    half = sqlite3.connect(path, isolation_level=None)
    half.execute("BEGIN IMMEDIATE")
    half.execute("CREATE TABLE forget_requests (half INTEGER)")
    half.close()  # rolls back, as recovery does after a crash
    open_store(settings).close()


def test_writers_at_once_make_one_epoch_each(store: Store) -> None:
    epochs: list[int] = []

    def write(first: int) -> None:
        epochs.extend(
            store.forget_requests.add(_new(number)).record.epoch
            for number in range(first, first + 10)
        )

    threads = [threading.Thread(target=write, args=(first,)) for first in (0, 100, 200, 300)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(epochs) == list(range(1, 41))
    assert len(store.epochs.load().policies) == 40


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_nothing_of_a_subject_is_readable_in_the_files(store: Store, settings: Settings) -> None:
    for number in range(20):
        store.forget_requests.add(_new(number))
    store.forget_requests.revoke("fr_3", "key_x")
    for path in settings.data_dir.iterdir():
        content = path.read_bytes().lower()
        assert b"vantongeren" not in content
        assert b"lighthouse" not in content


@pytest.mark.parametrize("backend", ["sqlite"], indirect=True)
def test_the_files_are_their_owners_only(store: Store, settings: Settings) -> None:
    store.forget_requests.add(_new(1))
    assert {path.stat().st_mode & 0o077 for path in settings.data_dir.iterdir()} == {0}


def test_another_store_key_reads_nothing(store: Store, settings: Settings) -> None:
    store.forget_requests.add(_new(1))
    (settings.data_dir / "store.key").write_text("0" * 64)
    with pytest.raises(KeyUnavailable):
        open_store(settings)


def test_known_policies_are_not_read_again(
    store: Store, behind_its_back: Callable[..., None]
) -> None:
    store.forget_requests.add(_new(1))
    known = {policy.digest: policy for policy in store.epochs.load().policies}
    store.forget_requests.add(_new(2))
    behind_its_back("UPDATE policies SET sealed = :s WHERE forget_request = 'fr_1'", s=b"0")
    assert len(store.epochs.load(known).policies) == 2
    with pytest.raises(ValueError, match="sha256"):
        store.epochs.load()


def test_errors_of_the_database_quote_nothing(store: Store) -> None:
    store.forget_requests.add(_new(1))
    with pytest.raises(StoreUnavailable) as raised:
        store.forget_requests.add(_new(1))
    assert "fr_1" not in str(raised.value)
    assert raised.value.__cause__ is None


def test_a_database_in_memory_is_refused(settings: Settings) -> None:
    with pytest.raises(ValueError, match="must be a file"):
        open_store(settings.model_copy(update={"database_url": "sqlite:///:memory:"}))


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text("abc"), inner),
    max_leaves=10,
)


@given(values, st.binary(min_size=32))
def test_what_is_sealed_opens_only_in_its_place(value: object, secret: bytes) -> None:
    seal = Seal(secret)
    sealed = seal.close("table/row", value)
    assert seal.open("table/row", sealed) == value
    with pytest.raises(SealBroken):
        seal.open("table/other", sealed)
    with pytest.raises(SealBroken):
        Seal(secret + b"x").open("table/row", sealed)


@given(values, st.integers(0), st.integers(1, 255))
def test_a_changed_byte_breaks_the_seal(value: object, at: int, change: int) -> None:
    seal = Seal(b"s" * 32)
    sealed = bytearray(seal.close("table/row", value))
    sealed[at % len(sealed)] ^= change
    with pytest.raises(SealBroken):
        seal.open("table/row", bytes(sealed))
