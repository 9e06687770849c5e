"""`lethe secrets`: the keys under which everything that was asked lies."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from service.cli.connection import console, fail
from service.settings import Settings

if TYPE_CHECKING:
    from service.store.key_rotation import KeyRotation

app = typer.Typer(no_args_is_help=True, help="The keys of the store: see them, rotate them.")


@app.command("status")
def status() -> None:
    """List master keys and how many data keys each wraps; the last one wraps new ones."""
    table = Table("master key", "data keys wrapped")
    with _rotation(Settings()) as rotation:
        for key_id, count in rotation.standing().items():
            table.add_row(key_id, str(count))
    console.print(table)


@app.command("rotate")
def rotate(
    *,
    new_secret: Annotated[
        bool,
        typer.Option(help="Also put a new secret into the key file, and take the old one out."),
    ] = False,
) -> None:
    """Make a new master key and wrap every data key by it, while the gateways serve.

    If it is broken off, run it again: it goes on where it was.
    """
    from service.store.key_service import key_service

    settings = Settings()
    with _rotation(settings) as rotation, console.status("wrapping data keys") as bar:
        rotation.run(
            key_service(settings),
            new_secret=new_secret,
            progress=lambda done: bar.update(f"wrapping data keys: {done}"),
        )
        (current,) = rotation.standing()
    console.print(f"{current} wraps every data key; no older one is left", highlight=False)


@contextmanager
def _rotation(settings: Settings) -> Iterator["KeyRotation"]:
    """The store's; what goes wrong is said, and ends the command."""
    # Not with the module: whoever only asks needs no database library.
    from service.store.store import KeyUnavailable, StoreUnavailable, open_store

    try:
        store = open_store(settings)
        try:
            yield store.rotation()
        finally:
            store.close()
    except StoreUnavailable:
        fail("the database does not answer; what was begun goes on when this is run again")
    except OSError as error:
        fail(f"the key file cannot be written: {error.strerror}")
    except (KeyUnavailable, ValueError) as error:
        fail(str(error))
