"""The `lethe` command: wires the sub-commands together."""

from importlib.metadata import entry_points

import typer

from service.cli import api_keys, ask, audit, demo, forget, guards, secrets

FURTHER_COMMANDS = "lethe.commands"
"""Entry-point group: each names a `typer.Typer` that becomes the sub-command of its name."""

app = typer.Typer(
    help="Make a served model forget, without touching a weight.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("demo")(demo.demo)
app.command("gateway")(demo.gateway)
app.command("engine")(demo.engine)
app.command("compiler")(demo.compiler)
app.command("status")(ask.status)
app.command("ask")(ask.ask)
app.add_typer(forget.app, name="forget")
app.add_typer(api_keys.app, name="keys")
app.add_typer(guards.app, name="guards")
app.add_typer(audit.app, name="audit")
app.add_typer(secrets.app, name="secrets")


def main() -> None:
    """Entry point of the console script."""
    add_further_commands()
    app()


def add_further_commands() -> None:
    """Add what installed packages bring; packages above this one cannot be imported here."""
    for found in entry_points(group=FURTHER_COMMANDS):
        app.add_typer(found.load(), name=found.name)
