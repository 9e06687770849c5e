"""What a run is: its parameters, who is measured, and when it was worked on.  Kept as run.json."""

import hashlib
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Literal

from evals.knowledge import Knowledge
from evals.probe import Frozen

SCHEMA_VERSION = 1
FILE = "run.json"
PACKAGES = ("lethe", "openai", "numpy", "scipy", "scikit-learn", "rouge-score", "datasets", "torch")

Role = Literal["examined", "compared", "never knew"]


class Party(Frozen):
    """Somebody who is measured.

    method: by which method the run itself starts what answers; urls and model are then empty: they
    are others at each start.
    """

    name: str
    role: Role
    url: str = ""
    model: str = ""
    method: str = ""
    admin_url: str = ""


class Start(Frozen):
    """One time that the run was worked on.

    at: ISO 8601, UTC.  concurrency: probes at a time, on which latency depends.  measured: by name,
    what its endpoint said it is.
    """

    at: str
    concurrency: int = 1
    versions: Mapping[str, str] = {}
    measured: Mapping[str, Mapping[str, str]] = {}


class Run(Frozen):
    """Everything that has to be the same when a run is taken up again, and its history.

    weights: folders of the model that knows and the one that does not, for methods; None: demo's.
    knowledge: SHA-256 of the data as read.  rows: at most so many facts of each split; None: all.
    skipped: suites that the data does not suffice for, with the reason.
    """

    schema_version: int = SCHEMA_VERSION
    suites: tuple[str, ...]
    source: str
    knowledge: str
    rows: int | None
    seed: int
    weights: tuple[str, str] | None = None
    parties: tuple[Party, ...]
    command: str = ""
    skipped: Mapping[str, str] = {}
    starts: tuple[Start, ...] = ()

    @property
    def never_knew(self) -> Party | None:
        """The reference, if there is one."""
        return self._first("never knew")

    @property
    def unguarded(self) -> Party | None:
        """The first that is compared: the same model, with nothing forgotten."""
        return self._first("compared")

    def _first(self, role: Role) -> Party | None:
        return next((party for party in self.parties if party.role == role), None)


class OtherRun(ValueError):
    """The folder holds a run with other parameters; the text names them."""


_HISTORY = {"command", "skipped", "starts"}


def begin(folder: Path, run: Run, concurrency: int = 1) -> Run:
    """Write run.json, or take up the run that is there.  Returns it, with a new start.

    Raises OtherRun where the folder holds another run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    earlier = read(folder) if (folder / FILE).exists() else None
    if earlier is not None:
        _refuse_another(folder, earlier, run)
    starts = earlier.starts if earlier else ()
    now = datetime.now(UTC).isoformat(timespec="seconds")
    start = Start(at=now, concurrency=concurrency, versions=versions())
    begun = run.model_copy(update={"starts": (*starts, start)})
    write(folder, begun)
    return begun


def read(folder: Path) -> Run:
    """The run in a folder.  Raises FileNotFoundError; ValueError where it is not one of ours."""
    return Run.model_validate_json((folder / FILE).read_bytes())


def write(folder: Path, run: Run) -> None:
    """Keep it, whole or not at all."""
    replace_with(folder / FILE, run.model_dump_json(indent=2) + "\n")


def replace_with(path: Path, text: str) -> None:
    """Write a file so that a reader finds the old content or the new one."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text, encoding="utf-8")
    temporary.replace(path)


def met(run: Run, name: str, told: Mapping[str, str]) -> Run:
    """The run, with what an endpoint says of itself in its newest start."""
    newest = run.starts[-1]
    newest = newest.model_copy(update={"measured": {**newest.measured, name: told}})
    return run.model_copy(update={"starts": (*run.starts[:-1], newest)})


def digest_of(knowledge: Knowledge) -> str:
    """SHA-256 of the data, to notice that it changed."""
    return hashlib.sha256(knowledge.model_dump_json().encode()).hexdigest()


def versions() -> dict[str, str]:
    """Of Python and the packages that figures depend on, and the commit of a source checkout."""
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    if commit := _commit():
        found["lethe.commit"] = commit
    return found


def _commit() -> str:
    """Of the checkout that this file lies in; "+" where it was changed since.  Empty: none."""
    root = Path(__file__).parent.parent
    if not (root / ".git").exists():
        return ""
    commit = _git(root, "rev-parse", "HEAD")
    return f"{commit}+" if commit and _git(root, "status", "--porcelain", "-uno") else commit


def _git(root: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(  # noqa: S603  (no shell, fixed arguments)
            ["git", "-C", str(root), *arguments],  # noqa: S607  (the user's own git)
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return ""
    return done.stdout.strip()


def _refuse_another(folder: Path, earlier: Run, run: Run) -> None:
    before, now = earlier.model_dump(exclude=_HISTORY), run.model_dump(exclude=_HISTORY)
    changed = [name for name, value in now.items() if before[name] != value]
    if changed:
        raise OtherRun(
            f"{folder} holds a run with other parameters ({', '.join(changed)}): "
            f"take another folder, or the command that it began with: {earlier.command}"
        )
