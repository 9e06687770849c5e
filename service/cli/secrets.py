"""`lethe secrets`: the keys under which everything that was asked lies."""

from typing import Annotated

import typer
from rich.table import Table

from service.cli.connection import console, fail
from service.settings import Settings
from service.store.key_service import KeyUnavailable, key_service
from service.store.store import Store, StoreUnavailable, open_store

app = typer.Typer(no_args_is_help=True, help="The keys of the store: see them, rotate them.")


@app.command("status")
def status() -> None:
    """List master keys and how many data keys each wraps; the last one wraps new ones."""
    table = Table("master key", "data keys wrapped")
    store = _opened(Settings())
    try:
        for key_id, count in store.rotation().standing().items():
            table.add_row(key_id, str(count))
    except StoreUnavailable:
        fail("the database does not answer")
    finally:
        store.close()
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
    settings = Settings()
    store = _opened(settings)
    try:
        with console.status("wrapping data keys") as bar:
            store.rotation().run(
                key_service(settings),
                new_secret=new_secret,
                progress=lambda done: bar.update(f"wrapping data keys: {done}"),
            )
        (current,) = store.rotation().standing()
    except StoreUnavailable:
        fail("the database does not answer; run it again")
    except KeyUnavailable as error:
        fail(str(error))
    except OSError as error:
        fail(f"the key file cannot be written: {error.strerror}")
    except ValueError as error:
        fail(str(error))
    finally:
        store.close()
    console.print(f"{current} wraps every data key; no older one is left", highlight=False)


def _opened(settings: Settings) -> Store:
    try:
        return open_store(settings)
    except StoreUnavailable:
        fail("the database does not answer")
    except KeyUnavailable as error:
        fail(str(error))
