"""`lethe guards`: what there is, what it needs, and each of them at work on the demo model."""

import tempfile
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from guards.registry import GUARDS, guard_class
from service.cli.connection import console, fail
from service.cli.processes import StartFailed

app = typer.Typer(help="The mechanisms that can enforce a forget request.", no_args_is_help=True)


@app.command("list")
def list_guards() -> None:
    """List every guard, with what it needs of the engine."""
    table = Table("guard", "acts on", "prompt cache", "runners", "ranks", "what it does", box=None)
    for name in sorted(GUARDS):
        guard = guard_class(name)
        needs = guard.NEEDS
        ranks = "any" if needs.tensor_parallel else "one"
        table.add_row(
            name,
            ", ".join(sorted(needs.points)) or "gateway",
            "own" if needs.changes_prompt_kv else "as ever",
            ", ".join(sorted(needs.runners)) if needs.points else "any",
            ranks if needs.points else "any",
            (guard.__doc__ or "").strip().partition(".")[0],
        )
    console.print(table)


@app.command("show")
def show_guard(
    guard: Annotated[str, typer.Argument(help="One of `lethe guards list`.")],
    *,
    subject: Annotated[str, typer.Option(help="Somebody of the demo world.")] = "",
    engine: Annotated[str, typer.Option(help="local (transformers in-process) or vllm.")] = "local",
) -> None:
    """Fit a guard to the demo model, forget somebody by it alone, and ask before and after."""
    from service.demonstrations.demo_ground import SUBJECT, NobodyOfThatName
    from service.demonstrations.registry import NAMES
    from service.demonstrations.show import Refused, own_settings, show

    if guard not in NAMES:
        fail(f"there is no demonstration of that; there is: {', '.join(NAMES)}")
    if engine not in ("local", "vllm"):
        fail("the engine is local or vllm")
    with (
        tempfile.TemporaryDirectory(prefix="lethe-") as folder,
        console.status("starting") as status,
    ):
        try:
            settings = own_settings(Path(folder), engine)
            shown = show(guard, subject or SUBJECT, settings, status.update)
        except NobodyOfThatName:
            fail("the demo world has nobody of that name")
        except (StartFailed, Refused) as error:
            fail(str(error))
    table = Table("", "question", "before", f"under {guard}", "the model that never knew")
    for row in shown.rows:
        mark = "forget" if row.about else ("same" if row.before == row.after else "CHANGED")
        table.add_row(mark, row.question, row.before, row.after, row.never_knew)
    console.print(table)
