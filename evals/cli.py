"""`lethe eval`: measure what endpoints still tell of what they were to forget."""

import shlex
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Any, NoReturn

import typer
from rich.console import Console
from rich.table import Table
from typer.core import TyperGroup

if TYPE_CHECKING:
    from evals.contestants import Typed
    from evals.knowledge import Knowledge
    from evals.registry import Weights
    from evals.results import Results
    from evals.run import Run

# The rest of evals needs the extra "evals", and is imported when it is used: this file is loaded
# by every `lethe` command.

console = Console()
errors = Console(stderr=True)

_INTERRUPTED = 130

NamedUrls = list[str] | None
Named = list[str] | None


class SuitesFirst(TyperGroup):
    """Takes ``lethe eval tofu ...`` as ``lethe eval run tofu ...``."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments, with the command that was left out."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = ["run", *args]
        return super().parse_args(ctx, args)


app = typer.Typer(
    cls=SuitesFirst,
    help="Measure what endpoints still tell: lethe eval SUITE[,SUITE...|all] --endpoint NAME=URL",
    no_args_is_help=True,
    add_completion=False,
)


@app.command("list")
def list_suites() -> None:
    """Say which suites there are."""
    from evals.registry import SUITES

    table = Table(show_header=False, box=None)
    for name, line in SUITES.items():
        table.add_row(name, line)
    console.print(table)


@app.command("report")
def report(folder: Annotated[Path, typer.Argument(help="A folder of `lethe eval`.")]) -> None:
    """Compute results.json and report.html anew from the answers in a folder."""
    with _told():
        _conclude(folder)


@app.command("run")
def run(
    suites: Annotated[str, typer.Argument(help="Names from `lethe eval list`, or all.")],
    *,
    endpoint: Annotated[
        NamedUrls, typer.Option(help="NAME=URL of an OpenAI-compatible API to examine.")
    ] = None,
    compare: Annotated[
        NamedUrls, typer.Option(help="NAME=URL to compare with, as the stock model.")
    ] = None,
    never_knew: Annotated[
        str, typer.Option(help="NAME=URL that never saw what is to be forgotten.")
    ] = "",
    method: Annotated[
        list[str] | None, typer.Option(help="NAME[,NAME]: start a stack that forgets so.")
    ] = None,
    weights: Annotated[
        Path | None, typer.Option(help="Folder of the model to put methods on; default: demo's.")
    ] = None,
    never_knew_weights: Annotated[
        Path | None, typer.Option(help="Folder of the same without what is to be forgotten.")
    ] = None,
    data: Annotated[str, typer.Option(help="demo, tofu:FOLDER, jsonl:FILE or hub:NAME.")] = "demo",
    rows: Annotated[
        int | None, typer.Option(min=1, help="So many facts of each split; default: all.")
    ] = None,
    seed: Annotated[int, typer.Option(help="Of everything that is drawn.")] = 0,
    out: Annotated[Path, typer.Option(help="Folder of the run, taken up if it is there.")] = Path(
        "eval"
    ),
    model: Annotated[
        Named, typer.Option(help="[NAME=]MODEL; default: the first that is served.")
    ] = None,
    key: Annotated[
        Named, typer.Option(envvar="LETHE_API_KEY", help="[NAME=]KEY of the API.")
    ] = None,
    admin_url: Annotated[
        Named, typer.Option(envvar="LETHE_ADMIN_URL", help="[NAME=]URL of its admin plane.")
    ] = None,
    admin_key: Annotated[
        Named, typer.Option(envvar="LETHE_ADMIN_KEY", help="[NAME=]KEY of its admin plane.")
    ] = None,
    concurrency: Annotated[int, typer.Option(min=1, help="Probes at a time.")] = 4,
) -> None:
    """Put suites to endpoints; the same command takes up a run that was stopped.

    A value without NAME= is for the only --endpoint.  --compare and --never-knew take a method's
    name, too.
    """
    signal.signal(signal.SIGTERM, _interrupt)
    with _told(out):
        from evals.contestants import Typed

        typed = Typed(
            endpoints=[*(endpoint or ()), *_split(method or ())],
            compared=compare or (),
            never_knew=never_knew,
            weights=_weights(weights, never_knew_weights),
            models=model or (),
            keys=key or (),
            admin_urls=admin_url or (),
            admin_keys=admin_key or (),
        )
        _run(_names(suites), typed, data, rows, seed, out, concurrency)
        _conclude(out)


def _run(
    names: Sequence[str],
    typed: "Typed",
    data: str,
    rows: int | None,
    seed: int,
    out: Path,
    concurrency: int,
) -> None:
    from evals.progress import Bars
    from evals.registry import suite
    from evals.run import Run, digest_of
    from evals.runner import ask_of, execute

    knowledge = _loaded(data, rows, seed)
    contestants = typed.contestants(knowledge, out, concurrency)
    weights = typed.weights
    asked = ask_of({name: suite(name) for name in names}, knowledge, seed)
    run = Run(
        suites=tuple(names),
        source=data,
        knowledge=digest_of(knowledge),
        rows=rows,
        seed=seed,
        weights=(str(weights.knows), str(weights.never_knew)) if weights else None,
        parties=tuple(each.party for each in contestants),
    )
    run = run.model_copy(update={"command": command_of(run, out, concurrency)})
    for name, reason in asked.skipped.items():
        errors.print(f"{name} is left out: {reason}", highlight=False, markup=False)
    with Bars(errors) as bars:
        execute(out, run, asked, contestants, bars, concurrency)


def command_of(run: "Run", out: Path, concurrency: int) -> str:
    """The command that asks all of it again; keys are to be given by the environment."""
    words = ["lethe", "eval", ",".join(run.suites)]
    options = {"examined": "--endpoint", "compared": "--compare", "never knew": "--never-knew"}
    for party in run.parties:
        option = "--method" if party.method and party.role == "examined" else options[party.role]
        words += [option, party.method or f"{party.name}={party.url}"]
        words += ["--model", f"{party.name}={party.model}"] if party.model else []
        words += ["--admin-url", f"{party.name}={party.admin_url}"] if party.admin_url else []
    if run.weights:
        words += ["--weights", run.weights[0], "--never-knew-weights", run.weights[1]]
    words += ["--data", run.source]
    words += ["--rows", str(run.rows)] if run.rows is not None else []
    words += ["--seed", str(run.seed), "--concurrency", str(concurrency), "--out", str(out)]
    return shlex.join(words)


def _conclude(folder: Path) -> None:
    from evals import report as pages
    from evals import results as kept
    from evals.registry import suite
    from evals.run import read

    found = kept.results_of(folder, {name: suite(name) for name in read(folder).suites})
    kept.write(folder, found)
    pages.write(folder, found)
    _print_leaks(found)
    console.print(f"{folder / kept.FILE} and {folder / pages.FILE}", highlight=False, markup=False)


def _print_leaks(results: "Results") -> None:
    table = Table("", "stated something forgotten", "of prompts", "95 % bound", box=None)
    for each in results.parties:
        if each.leaks:
            whole = each.leaks[0]
            numbers = (str(whole.leaked), str(whole.asked), f"{whole.bound:.2%}")
            table.add_row(f"{each.party.name} ({each.party.role})", *numbers)
    console.print(table)


def _names(suites: str) -> list[str]:
    from evals.registry import SUITES, UnknownName

    names = list(SUITES) if suites == "all" else list(dict.fromkeys(suites.split(",")))
    for name in names:
        if name not in SUITES:
            raise UnknownName(f"there is no suite {name!r}; there are: {', '.join(SUITES)}")
    return names


def _split(methods: Sequence[str]) -> list[str]:
    return [name for names in methods for name in names.split(",")]


def _weights(knows: Path | None, never_knew: Path | None) -> "Weights | None":
    from evals.contestants import NotUnderstood
    from evals.registry import Weights

    if knows and never_knew:
        return Weights(knows, never_knew)
    if knows or never_knew:
        raise NotUnderstood("--weights and --never-knew-weights go together")
    return None


def _loaded(data: str, rows: int | None, seed: int) -> "Knowledge":
    from evals.contestants import NotUnderstood
    from evals.registry import load_data

    try:
        return load_data(data, rows, seed)
    except ValueError as error:
        raise NotUnderstood(f"--data {data}: {error}") from error


@contextmanager
def _told(resumable: Path | None = None) -> Iterator[None]:
    """What goes wrong in ways that are foreseen becomes a sentence and an exit status."""
    try:
        from evals.answers import Damaged, OtherProbes
        from evals.contestants import NotUnderstood
        from evals.endpoint import Unreachable
        from evals.registry import UnknownName
        from evals.run import OtherRun
        from service.cli.processes import StartFailed

        foreseen = (Damaged, OtherProbes, NotUnderstood, Unreachable, UnknownName, OtherRun)
        try:
            yield
        except (*foreseen, StartFailed, OSError) as error:
            _fail(str(error))
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] == "evals":
            raise
        _fail(f"{error.name} is not installed: pip install 'lethe[evals]'")
    except KeyboardInterrupt:
        where = f": what was answered is in {resumable}; the same command goes on from there"
        errors.print(f"stopped{where if resumable else ''}", highlight=False, markup=False)
        raise typer.Exit(_INTERRUPTED) from None


def _fail(message: str) -> NoReturn:
    errors.print(f"lethe eval: {message}", highlight=False, markup=False)
    raise typer.Exit(1)


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
