"""What alembic runs: all pending migrations, on the connection and in the transaction given."""

from alembic import context

from service.store.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    transactional_ddl=False,  # the caller's transaction holds the lock and spans all of it
)
context.run_migrations()
