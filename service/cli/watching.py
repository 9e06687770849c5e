"""Following a compilation in a terminal."""

from typing import Any

from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeElapsedColumn

from service.cli.connection import admin_events, console, errors

PATH = "/v1/forget_requests"


def follow(request_id: str) -> None:
    """A progress bar until nothing is compiled any more, and then how it ended."""
    last: dict[str, Any] = {}
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TimeElapsedColumn(),
    )
    with Progress(*columns, console=console) as bar:
        task = bar.add_task("waiting", total=1.0)
        for name, data in admin_events(f"{PATH}/{request_id}/events"):
            if name == "progress":
                last = data
                compilation = data["compilation"] or {}
                bar.update(
                    task,
                    description=_described(data["state"], compilation),
                    completed=compilation.get("fraction", 0.0),
                )
    console.print(f"{request_id}  {last.get('state', 'unknown')}", highlight=False)
    _say_error(last.get("compilation") or {})


def _described(state: str, compilation: dict[str, Any]) -> str:
    step = compilation.get("step")
    return f"{state}: {step}" if step and compilation.get("status") == "running" else state


def _say_error(compilation: dict[str, Any]) -> None:
    error = compilation.get("error")
    if error:
        measures = f" ({', '.join(error['measures'])})" if error["measures"] else ""
        errors.print(
            f"[red]not compiled:[/red] {error['code']}{measures}; what is in force stays",
            highlight=False,
        )
