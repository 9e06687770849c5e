"""Bringing a database up to the tables of this version."""

from pathlib import Path

from alembic import command
from alembic.config import Config

from service.store.database import Database

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(database: Database) -> None:
    """Apply what is pending, in one transaction under the writers' lock.

    Safe for any number of processes at once, and after a crash at any moment.  Raises
    StoreUnavailable; alembic's CommandError where the database is of a newer version.
    """
    with database.writing() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
