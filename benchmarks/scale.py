"""Many policies: routing time, memory for each, building anew, one more.

    python -m benchmarks.scale [--policies 100000]

Memory is what the process's resident size grows by, divided by the number of policies: first the
policies themselves, then the rules built from them.  Times are processor time, compared within one
run; each size runs in a process of its own.
"""

import argparse
import gc
import json
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

from benchmarks.detection import invented_policies, prompt_of, timed
from guards.case import Case
from guards.policy import Epoch
from guards.rules import Rules

SENTENCE = (
    "The keeper of the lighthouse wrote a long letter about the weather, the boats that passed and "
    "the price of oil; in the evening she read it to her neighbour, who had asked for it. "
)


def resident() -> int:
    """Bytes of this process that are in memory now."""
    gc.collect()
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("the kernel does not say")


def measure(size: int) -> dict[str, float]:
    """Everything at one size."""
    start = resident()
    policies = tuple(invented_policies(size))
    for policy in policies:
        _ = policy.digest  # computed once, and kept with it
    with_policies = resident()
    began = time.process_time()
    rules = Rules.build(Epoch(1, policies), None, 0.7)
    built = time.process_time() - began
    with_rules = resident()
    case = Case("c", "tenant", "model", 1, prompt_of((SENTENCE * 12)[:2000]))
    route = timed(partial(rules.decide, case), 60)
    more = (*policies, *invented_policies(1, seed=size + 1))
    one_more = timed(partial(Rules.build, Epoch(2, more), None, 0.7, rules), 5)
    return {
        "policies": size,
        "route_ms": 1e3 * route,
        "build_s": built,
        "one_more_ms": 1e3 * one_more,
        "policy_bytes": (with_policies - start) / size,
        "rules_bytes": (with_rules - with_policies) / size,
    }


def main() -> None:
    """Print a line for each size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--policies", type=int, default=100_000)
    parser.add_argument("--one", type=int, help="Only this size, as JSON.")
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one)))
        return
    for size in (10, 1_000, arguments.policies):
        command = [sys.executable, "-m", "benchmarks.scale", "--one", str(size)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603
        found = json.loads(done.stdout)
        print("  ".join(f"{name} {value:.4g}" for name, value in found.items()), flush=True)


if __name__ == "__main__":
    main()
