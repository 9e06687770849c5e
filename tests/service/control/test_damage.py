"""A damaged artifact and a full disk: the last good epoch stays, or nothing is served."""

import os
import secrets
import shutil
import subprocess
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from types import ModuleType
from typing import Any, cast

import numpy as np
import pytest

from guards.policy import GuardSpec, Policy
from models.artifact import ArtifactStore
from models.encoder import Encoder
from service.control.artifact_check import ArtifactCheck
from service.control.fence import FenceReason
from service.control.replica import Replica, ReplicaFenced
from service.settings import Settings
from service.store.database import StoreUnavailable
from service.store.forget_requests import NewForgetRequest
from service.store.store import Store, open_store

Wait = Callable[[Callable[[], object]], None]


def _epoch(replica: Replica) -> int | None:
    try:
        rules: Any = replica.rules
    except ReplicaFenced:
        return None
    return int(rules.listed.number)


def _serves(replica: Replica, number: int) -> bool:
    return _epoch(replica) == number


def _flip_a_bit(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.fixture
def artifacts(tmp_path: Path) -> ArtifactStore:
    return ArtifactStore(tmp_path / "artifacts")


@pytest.fixture
def start(
    store: Store, settings: Settings, plane_app: ModuleType, artifacts: ArtifactStore
) -> Iterator[Callable[[], Replica]]:
    running: list[Replica] = []

    def start() -> Replica:
        replica = Replica(
            store,
            settings,
            lambda: cast("Encoder", None),
            build=plane_app.build_plainly,
            prepare=[ArtifactCheck(artifacts)],
        )
        running.append(replica)
        replica.start()
        return replica

    yield start
    for replica in running:
        replica.stop()


def _forget(store: Store, digest: str) -> str:
    request_id = f"fr_{secrets.token_hex(8)}"
    guards = (GuardSpec("token_filter", {"artifact": digest}), GuardSpec("text_filter"))
    policy = Policy(request_id, ("Ilse Vantongeren",), guards=guards)
    store.forget_requests.add(NewForgetRequest(request_id, {}, "auto", policy, "key_x"))
    return request_id


@pytest.mark.parametrize("file", ["manifest.json", "tensors.safetensors"])
def test_a_flipped_bit_in_an_artifact_leaves_the_last_good_epoch_in_force(
    store: Store,
    artifacts: ArtifactStore,
    start: Callable[[], Replica],
    wait_until: Wait,
    file: str,
) -> None:
    good = artifacts.put({"kind": "x"}, {"t": np.arange(100, dtype=np.float32)})
    _forget(store, good)
    replica, other = start(), start()
    wait_until(lambda: _serves(replica, 1) and _serves(other, 1))
    bad = artifacts.put({"kind": "y"}, {"t": np.arange(200, dtype=np.float32)})
    _flip_a_bit(artifacts.root / "sha256" / bad.removeprefix("sha256:") / file)
    request_id = _forget(store, bad)
    for each in (replica, other):
        wait_until(partial(_refuses, each))
        assert _epoch(each) == 1
    assert store.epochs.standing().current == 1
    store.forget_requests.revoke(request_id, "key_x")
    wait_until(lambda: _serves(replica, 3) and _serves(other, 3))
    assert replica.refusal is None


def _refuses(replica: Replica) -> bool:
    return replica.refusal is FenceReason.ARTIFACT_CORRUPT


def test_one_that_starts_with_a_damaged_artifact_serves_nothing(
    store: Store, artifacts: ArtifactStore, start: Callable[[], Replica], wait_until: Wait
) -> None:
    digest = artifacts.put({"kind": "x"})
    _forget(store, digest)
    shutil.rmtree(artifacts.root)
    replica = start()
    wait_until(lambda: replica.fenced is FenceReason.ARTIFACT_CORRUPT)
    assert artifacts.put({"kind": "x"}) == digest
    wait_until(lambda: _serves(replica, 1))


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 4 MiB."""
    place = tmp_path / "disk"
    place.mkdir()
    mount, umount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or umount is None:
        pytest.skip("only root can mount a small file system")
    command = [mount, "-t", "tmpfs", "-o", "size=4m", "tmpfs", str(place)]
    if subprocess.run(command, check=False, capture_output=True).returncode:  # noqa: S603 - ours
        pytest.skip("this machine lets nobody mount a small file system")
    yield place
    subprocess.run([umount, "-l", str(place)], check=True)  # noqa: S603 - ours


def _fill(disk: Path) -> Path:
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1 << 9, 1):
            try:
                while True:
                    file.write(bytes(size))
            except OSError:
                continue
    return filler


def test_on_a_full_disk_nothing_is_accepted_or_served_and_with_room_all_comes_back(
    small_disk: Path, plane_app: ModuleType, wait_until: Wait
) -> None:
    settings = Settings(data_dir=small_disk, lease_s=1.0)
    store = open_store(settings)
    policy = Policy("fr_before", ("Ilse Vantongeren",))
    store.forget_requests.add(NewForgetRequest("fr_before", {}, "auto", policy, "key_x"))
    replica = Replica(store, settings, lambda: cast("Encoder", None), build=plane_app.build_plainly)
    replica.start()
    wait_until(lambda: _serves(replica, 1))
    filler = _fill(small_disk)
    policy = Policy("fr_full", ("x" * 100_000,))
    new = NewForgetRequest("fr_full", {"much": "x" * 1_000_000}, "auto", policy, "key_x")
    with pytest.raises(StoreUnavailable):
        store.forget_requests.add(new)
    wait_until(lambda: replica.fenced is FenceReason.STORE_UNAVAILABLE)
    filler.unlink()
    wait_until(lambda: _serves(replica, 1))
    assert store.epochs.newest() == 1
    replica.stop()
    store.close()
