"""What became of each fault: kept as JSON, shown as a table."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from evals.enforcement.verdicts import Verdict
from evals.faults.fault import Fault
from evals.probe import Frozen

SHOWN = 4
HEALTHY = "healthy"
"""The trial without a fault."""


class Outcome(Frozen):
    """One fault.  failed: how many answers did not pass, by ``check / judge``; layers likewise."""

    fault: str
    broken: str
    layer: str
    process: str
    checked: int
    failed: Mapping[str, int]
    layers: Mapping[str, int]
    seconds: float

    @property
    def caught(self) -> bool:
        """Whether any check failed."""
        return bool(self.failed)


def outcome_of(fault: type[Fault] | None, judged: Sequence[Verdict], seconds: float) -> Outcome:
    """The outcome of a trial from its verdicts.  fault: None where nothing is broken."""
    wrong = [verdict for verdict in judged if not verdict.passed]
    return Outcome(
        fault=fault.NAME if fault else HEALTHY,
        broken=fault.BROKEN if fault else "nothing",
        layer=fault.LAYER if fault else "",
        process=fault.PROCESS if fault else "",
        checked=len(judged),
        failed=_counted(f"{verdict.check} / {verdict.judge}" for verdict in wrong),
        layers=_counted(verdict.layer for verdict in wrong),
        seconds=round(seconds, 1),
    )


def read(path: Path) -> dict[str, Outcome]:
    """What has been tried so far; nothing where there is no file."""
    if not path.exists():
        return {}
    found = [Outcome.model_validate(each) for each in json.loads(path.read_text())]
    return {each.fault: each for each in found}


def write(path: Path, done: Mapping[str, Outcome]) -> None:
    """Keep them, all or nothing."""
    temporary = path.with_suffix(".part")
    rows = [each.model_dump(mode="json") for each in done.values()]
    temporary.write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    temporary.replace(path)


def table(outcomes: Sequence[Outcome], untried: Sequence[str] = ()) -> str:
    """The page of the documentation.  untried: names of faults without an outcome."""
    caught = sum(each.caught for each in outcomes)
    missed = [each for each in outcomes if not each.caught]
    lines = [
        "# Planted faults",
        "",
        "A suite that never fails proves nothing. So the product is broken on purpose, one way at "
        "a time, and the [enforcement suite](../evals/suites/enforcement.py) has to notice. "
        "`python -m evals.faults.run --out FILE` starts gateway and in-process engine with the "
        "demo model for each fault, forgets nine subjects in eight ways, asks, and writes this "
        "page. Without a fault every check must pass, or the run stops.",
        "",
        "Reasoning, tool calls, JSON mode and a cache of prompts, which the in-process engine "
        "lacks, are added to it for these runs (`evals/faults/engine_parts.py`). Others' answers "
        "are compared word for word with a run in which nothing is forgotten; answers under weak "
        "noise with the model computed without any server.",
        "",
        f"**{caught} of {len(outcomes)} faults were found**, each in one run of at most "
        f"{max((each.checked for each in outcomes), default=0)} checks. What needs another engine "
        "or the passing of time is asked only while no check has failed. "
        "`start / canary`: the product's own canary found it, and nothing was answered at all. "
        "Layers are those of [attacks](attacks.md#layers).",
        "",
        "| fault | what is broken | layer | checks that fail | by |",
        "|---|---|---|---|---|",
        *map(_row, outcomes),
        "",
    ]
    if untried:
        lines += ["## Not tried", "", ", ".join(f"`{name}`" for name in untried), ""]
    if missed:
        names = ", ".join(f"`{each.fault}`" for each in missed)
        lines += ["## Not found", "", f"{names}: see the rows above for what is broken.", ""]
    return "\n".join(lines)


def _row(each: Outcome) -> str:
    ranked = sorted(each.failed.items(), key=lambda item: (-item[1], item[0]))
    shown = "; ".join(f"{name} ({count})" for name, count in ranked[:SHOWN])
    more = f"; {len(ranked) - SHOWN} more" if len(ranked) > SHOWN else ""
    total = sum(each.failed.values()) or "**none**"
    return f"| `{each.fault}` | {each.broken} | {each.layer} | {total} | {shown}{more} |"


def _counted(names: Iterable[str]) -> dict[str, int]:
    return dict(Counter(names))
