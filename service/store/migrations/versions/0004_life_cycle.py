"""The life cycle: its events, compilations and their steps, certificates, imports."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "imports",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("total", sa.Integer(), nullable=False),
        sa.Column("accepted", sa.Integer(), nullable=False),
        sa.Column("refused", sa.Integer(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("idempotency", sa.String(length=64), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_imports")),
        sa.UniqueConstraint("id", name=op.f("uq_imports_id")),
        sa.UniqueConstraint("idempotency", name=op.f("uq_imports_idempotency")),
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_imports_status"), "imports", ["status"], unique=False)
    op.create_table(
        "certificates",
        sa.Column("policy", sa.String(length=71), nullable=False),
        sa.Column("forget_request", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["forget_request"], ["forget_requests.id"], name=op.f("fk_certificates_forget_request")
        ),
        sa.PrimaryKeyConstraint("policy", name=op.f("pk_certificates")),
    )
    op.create_index(
        op.f("ix_certificates_forget_request"), "certificates", ["forget_request"], unique=False
    )
    op.create_table(
        "compilations",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("forget_request", sa.String(length=64), nullable=False),
        sa.Column("reason", sa.String(length=16), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("step", sa.String(length=64), nullable=False),
        sa.Column("fraction", sa.Float(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("error", sa.String(length=32), nullable=False),
        sa.Column("detail", sa.String(length=128), nullable=False),
        sa.Column("worker", sa.String(length=64), nullable=False),
        sa.Column("beats", sa.BigInteger(), nullable=False),
        sa.Column("model", sa.String(length=71), nullable=False),
        sa.Column("previous", sa.String(length=71), nullable=True),
        sa.Column("queued_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("finished_at", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["forget_request"], ["forget_requests.id"], name=op.f("fk_compilations_forget_request")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_compilations")),
        sa.UniqueConstraint("id", name=op.f("uq_compilations_id")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_compilations_forget_request"), "compilations", ["forget_request"], unique=False
    )
    op.create_index(
        "ix_compilations_turn", "compilations", ["status", "priority", "seq"], unique=False
    )
    op.create_table(
        "import_rows",
        sa.Column("import_id", sa.String(length=64), nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("forget_request", sa.String(length=64), nullable=True),
        sa.Column("param", sa.String(length=160), nullable=True),
        sa.Column("code", sa.String(length=64), nullable=True),
        sa.Column("message", sa.String(length=512), nullable=True),
        sa.ForeignKeyConstraint(
            ["import_id"], ["imports.id"], name=op.f("fk_import_rows_import_id")
        ),
        sa.PrimaryKeyConstraint("import_id", "number", name=op.f("pk_import_rows")),
    )
    op.create_table(
        "life_events",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("forget_request", sa.String(length=64), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("event", sa.String(length=16), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("detail", sa.String(length=128), nullable=False),
        sa.Column("policy", sa.String(length=71), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("by", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["forget_request"], ["forget_requests.id"], name=op.f("fk_life_events_forget_request")
        ),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_life_events")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_life_events_forget_request", "life_events", ["forget_request", "seq"], unique=False
    )
    op.create_table(
        "compilation_steps",
        sa.Column("compilation", sa.String(length=64), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), autoincrement=False, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("finished_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["compilation"], ["compilations.id"], name=op.f("fk_compilation_steps_compilation")
        ),
        sa.PrimaryKeyConstraint("compilation", "name", name=op.f("pk_compilation_steps")),
    )
    op.add_column(
        "forget_requests", sa.Column("certified_for", sa.String(length=71), nullable=True)
    )
    op.add_column("forget_requests", sa.Column("supersedes", sa.String(length=64), nullable=True))
    op.add_column(
        "forget_requests", sa.Column("superseded_by", sa.String(length=64), nullable=True)
    )
    op.add_column(
        "forget_requests",
        sa.Column("erase", sa.Boolean(), server_default=sa.false(), nullable=False),
    )
    op.add_column("forget_requests", sa.Column("erased_at", sa.BigInteger(), nullable=True))
    op.create_index(
        op.f("ix_forget_requests_enforced_at"), "forget_requests", ["enforced_at"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_forget_requests_enforced_at"), table_name="forget_requests")
    for column in ("erased_at", "erase", "superseded_by", "supersedes", "certified_for"):
        op.drop_column("forget_requests", column)
    for table in (
        "compilation_steps",
        "life_events",
        "import_rows",
        "compilations",
        "certificates",
        "imports",
    ):
        op.drop_table(table)
