"""`python -m benchmarks.importing [rows]`: a bulk import of names, enforced by one real replica.

One process: the import's runner, a replica with real rules and router, SQLite on disk.  Prints
seconds until every row is enforced, epochs made, and the longest time that the replica did not
serve (a lease lost because an epoch took too long to load).
"""

import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from models.encoder import Encoder
from service.audit import AuditLog
from service.control.activation import Activation
from service.control.engine_abilities import EngineAbilities
from service.control.import_runner import ImportRunner
from service.control.replica import Replica, ReplicaFenced
from service.settings import Settings
from service.store.store import open_store

_SYLLABLES = ("bel", "dor", "fen", "gar", "hil", "jos", "kal", "lun", "mir", "nov")


def main(rows: int) -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as folder:
        settings = Settings(data_dir=Path(folder))
        store = open_store(settings)
        audit = AuditLog(settings.audit_path)
        replica = Replica(store, settings, lambda: Encoder.load(settings.encoder_folder))
        replica.start()
        while replica.fenced is not None:
            time.sleep(0.05)
        activation = Activation(store, settings.lease_s, replica)
        runner = ImportRunner(store, settings, activation, EngineAbilities(), audit)
        lines = [(n, json.dumps({"subject": _name(n)}).encode()) for n in range(1, rows + 1)]
        began = time.perf_counter()
        record, _ = store.imports.add(lines, "key_bench", None)
        kept = time.perf_counter() - began
        runner.start()
        gap = _longest_gap(replica, lambda: store.imports.get(record.id).status == "done")
        took = time.perf_counter() - began
        found = store.imports.get(record.id)
        print(f"{found.accepted} of {rows} rows: kept in {kept:.1f} s, enforced in {took:.1f} s")
        print(f"epochs: {replica.rules.epoch}")
        print(f"longest time without serving: {gap:.2f} s")
        runner.stop()
        replica.stop()
        audit.close()
        store.close()


def _longest_gap(replica: Replica, done: Callable[[], bool]) -> float:
    longest = 0.0
    since: float | None = None
    while not done():
        try:
            _ = replica.rules
            since = None
        except ReplicaFenced:
            since = since or time.perf_counter()
            longest = max(longest, time.perf_counter() - since)
        time.sleep(0.02)
    return longest


def _name(number: int) -> str:
    digits = [_SYLLABLES[int(d)] for d in f"{number:05d}"]
    return f"{''.join(digits[:3]).title()} {''.join(digits[3:]).title()}son"


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)
