"""API keys: who gets in, on which plane, until when."""

import json
from itertools import product
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.control.keys import (
    KeyRing,
    Plane,
    Principal,
    _checksum,
    ensure_bootstrap_keys,
    key_id_of,
    new_key,
)
from service.settings import Settings
from service.store.database import now_ms
from service.store.store import Store

PEPPER = b"p" * 32
PLANES: tuple[Plane, ...] = ("data", "admin")
HOUR_MS = 3_600_000


@pytest.fixture
def ring(store: Store) -> KeyRing:
    return KeyRing(store, PEPPER)


@pytest.mark.parametrize(("made", "asked"), list(product(PLANES, PLANES)))
@pytest.mark.parametrize("condition", ["valid", "expires later", "expired", "revoked"])
def test_a_key_opens_its_own_plane_while_it_is_valid_and_nothing_else(
    ring: KeyRing, store: Store, made: Plane, asked: Plane, condition: str
) -> None:
    expires = {"expired": now_ms() - 1, "expires later": now_ms() + HOUR_MS}.get(condition)
    key = ring.create(made, "acme", "key_maker", expires)
    if condition == "revoked":
        store.api_keys.revoke(key.record.id, "key_maker")
        ring.refresh()
    opens = made == asked and condition in ("valid", "expires later")
    expected = Principal("acme", key.record.id, made) if opens else None
    assert ring.authenticate(key.raw, asked) == expected


@pytest.mark.parametrize("plane", PLANES)
def test_a_well_formed_key_that_nobody_made_opens_nothing(ring: KeyRing, plane: Plane) -> None:
    ring.create(plane, "acme", "key_maker")
    assert ring.authenticate(new_key(plane, "acme", PEPPER, 0).raw, plane) is None


@pytest.mark.parametrize("plane", PLANES)
def test_a_known_id_with_another_secret_opens_nothing(ring: KeyRing, plane: Plane) -> None:
    known = ring.create(plane, "acme", "key_maker").raw
    other = new_key(plane, "acme", PEPPER, 0).raw
    body = known[:25] + other[25:-7]  # plane and id of one, secret of the other
    forged = body + _checksum(body)
    assert key_id_of(forged, plane) == key_id_of(known, plane)
    assert ring.authenticate(forged, plane) is None
    assert ring.authenticate(known, plane) is not None


@pytest.mark.parametrize("plane", PLANES)
def test_under_another_pepper_no_key_fits(store: Store, ring: KeyRing, plane: Plane) -> None:
    key = ring.create(plane, "acme", "key_maker")
    assert KeyRing(store, b"q" * 32).authenticate(key.raw, plane) is None


@pytest.mark.parametrize(
    "garbage",
    ["", "lethe_sk_", "lethe_ak_" + "a" * 75, "Bearer", "\ud800", "ключ" * 20, "a" * 9999],
)
def test_garbage_opens_nothing(ring: KeyRing, garbage: str) -> None:
    assert [ring.authenticate(garbage, plane) for plane in PLANES] == [None, None]


@given(st.integers(0, 83), st.sampled_from("abcdefghijklmnopqrstuvwxyz234567"))
def test_one_wrong_character_is_no_key(index: int, character: str) -> None:
    raw = new_key("data", "acme", PEPPER, 0).raw
    typo = raw[:index] + character + raw[index + 1 :]
    assert (key_id_of(typo, "data") is None) == (typo != raw)


def test_another_ring_learns_of_a_revocation_by_itself(ring: KeyRing, store: Store) -> None:
    key = ring.create("data", "acme", "key_maker")
    other = KeyRing(store, PEPPER)
    assert other.authenticate(key.raw, "data") is not None
    store.api_keys.revoke(key.record.id, "key_maker")
    other._read_at = float("-inf")  # as after half a second
    assert other.authenticate(key.raw, "data") is None


def test_the_key_itself_is_kept_nowhere(ring: KeyRing, settings: Settings) -> None:
    key = ring.create("data", "acme", "key_maker")
    secret = key.raw[len("lethe_sk_") + 16 :].encode()
    assert all(secret not in path.read_bytes() for path in settings.data_dir.glob("*"))


def test_use_is_noted(ring: KeyRing, store: Store) -> None:
    key = ring.create("data", "acme", "key_maker")
    ring.authenticate(key.raw, "data")
    ring._used_written_at = float("-inf")
    ring.refresh()
    (record,) = store.api_keys.all()
    assert record.last_used_at is not None


def test_bootstrap_makes_one_key_for_each_plane_and_only_once(
    store: Store, settings: Settings
) -> None:
    path = ensure_bootstrap_keys(store, settings.data_dir)
    keys = json.loads(path.read_text())
    ring = KeyRing(store, settings.pepper())
    assert [ring.authenticate(keys[plane], plane) is None for plane in PLANES] == [False, False]
    assert path.stat().st_mode & 0o777 == 0o600
    ensure_bootstrap_keys(store, settings.data_dir)
    assert json.loads(path.read_text()) == keys
    assert len(store.api_keys.all()) == 2


def test_bootstrap_finishes_what_a_crash_interrupted(store: Store, settings: Settings) -> None:
    data, admin = (new_key(plane, "", b"", 0).raw for plane in PLANES)
    (settings.data_dir / "keys.json").write_text(json.dumps({"data": data, "admin": admin}))
    ensure_bootstrap_keys(store, settings.data_dir)
    ring = KeyRing(store, settings.pepper())
    assert ring.authenticate(admin, "admin") is not None


def test_bootstrap_brings_no_revoked_key_back(store: Store, settings: Settings) -> None:
    path = ensure_bootstrap_keys(store, settings.data_dir)
    raw = json.loads(path.read_text())["data"]
    store.api_keys.revoke(str(key_id_of(raw, "data")), "key_maker")
    ensure_bootstrap_keys(store, settings.data_dir)
    assert KeyRing(store, settings.pepper()).authenticate(raw, "data") is None


def test_bootstrap_makes_nothing_where_keys_exist(
    store: Store, ring: KeyRing, tmp_path: Path
) -> None:
    ring.create("admin", "*", "key_maker")
    path = ensure_bootstrap_keys(store, tmp_path)
    assert not path.exists()
