"""The migrations are one chain, and keep what was there."""

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import text

from service.store.database import Database, open_database
from service.store.epochs import current
from service.store.migration import MIGRATIONS

BACKENDS = ("sqlite", "postgresql")


def test_there_is_one_head_and_files_are_numbered_as_they_are_chained() -> None:
    script = ScriptDirectory(str(MIGRATIONS))
    (head,) = script.get_heads()
    chain = [each.revision for each in script.iterate_revisions(head, "base")]
    assert chain == sorted(chain, reverse=True)
    files = {path.name.partition("_")[0] for path in (MIGRATIONS / "versions").glob("*.py")}
    assert files == set(chain)


def test_what_was_served_before_there_were_two_phases_is_current(database_url: str) -> None:
    database = open_database(database_url)
    _to(database, "0001")
    with database.writing() as connection:
        for number in (1, 2):
            row = f"({number}, 's', {10 * number})"
            connection.execute(
                text(f"INSERT INTO epochs (number, signature, created_at) VALUES {row}")  # noqa: S608
            )
    _to(database, "0002")
    with database.reading() as connection:
        rows = connection.execute(text("SELECT number, current_at FROM epochs ORDER BY number"))
        assert rows.all() == [(1, 10), (2, 20)]
        assert current(connection) == 2
    database.close()


def _to(database: Database, revision: str) -> None:
    with database.writing() as connection:
        config = Config()
        config.set_main_option("script_location", str(MIGRATIONS))
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
