"""Collecting artifacts while the collector is killed at any moment."""

import random
import signal
import subprocess
import sys

from guards.policy import GuardSpec, Policy
from models.artifact import ArtifactStore
from service.settings import Settings
from service.store.epochs import make_current
from service.store.forget_requests import NewForgetRequest
from service.store.store import Store

BACKENDS = ("sqlite", "postgresql")

REQUESTS = 50
PROGRAM = """
import sys
from pathlib import Path
from models.artifact import ArtifactStore
from service.settings import Settings
from service.store.artifact_collector import ArtifactCollector
from service.store.store import open_store
settings = Settings(data_dir=Path(sys.argv[1]), database_url=sys.argv[2])
store = open_store(settings)
artifacts = ArtifactStore(settings.artifacts)
remove = artifacts.remove
def said(digest):
    print(flush=True)
    remove(digest)
artifacts.remove = said
collector = ArtifactCollector(store._database, artifacts, 0.0, lambda: 0.0)
while collector.step():
    pass
"""


def test_killed_at_any_moment_nothing_in_force_is_lost(store: Store, settings: Settings) -> None:
    artifacts = ArtifactStore(settings.artifacts, b"k" * 32)
    made = [
        artifacts.put({"number": number, "blind": "0" * 64}, sealed=True)
        for number in range(REQUESTS)
    ]
    for number, digest in enumerate(made):
        guards = (GuardSpec("steering", {"artifact": digest}),)
        policy = Policy(f"fr_{number}", ("Ilse Vantongeren",), guards=guards)
        store.forget_requests.add(NewForgetRequest(f"fr_{number}", {}, "auto", policy, "key_x"))
    ended = [number for number in range(REQUESTS) if number % 2]
    for number in ended:
        store.forget_requests.revoke(f"fr_{number}", "key_x")
    with store._database.writing() as connection:
        make_current(connection, store.epochs.newest())
    rng = random.Random("collector")
    command = [sys.executable, "-c", PROGRAM, str(settings.data_dir), settings.database_url]
    for _ in range(3):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
            assert process.stdout is not None
            for _ in range(rng.randrange(1, 12)):
                process.stdout.readline()
            process.send_signal(signal.SIGKILL)
        for policy in store.epochs.load().policies:
            (guard,) = policy.guards
            artifacts.open(guard.options["artifact"])
    assert subprocess.run(command, check=True, stdout=subprocess.DEVNULL).returncode == 0  # noqa: S603
    there = {f"sha256:{folder.name}" for folder in (settings.artifacts / "sha256").iterdir()}
    assert there == {digest for number, digest in enumerate(made) if number not in ended}
