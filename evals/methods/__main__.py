"""``python -m evals.methods list``: what is compared, from where, and how it is set."""

import json

import typer

from evals.methods.registry import METHODS, method_named

app = typer.Typer(add_completion=False, help="The methods that are compared.")


@app.callback()
def methods() -> None:
    """The methods that are compared."""


@app.command("list")
def list_methods() -> None:
    """Say what there is, whose it is, how it is set, and where it is not what the paper has."""
    for name in METHODS:
        method = method_named(name)
        typer.echo(f"{name}\n  source: {method.source}")
        if method.settings:
            typer.echo(f"  settings: {json.dumps(dict(method.settings))}")
        if method.differs:
            typer.echo(f"  differs: {method.differs}")


if __name__ == "__main__":
    app()
