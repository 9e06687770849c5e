"""A data key for each forget request, wrapped by master keys; which artifacts policies name."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "master_keys",
        sa.Column("number", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_master_keys")),
        sa.UniqueConstraint("id", name=op.f("uq_master_keys_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "data_keys",
        sa.Column("owner", sa.String(length=64), nullable=False),
        sa.Column("master", sa.String(length=64), nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("owner", name=op.f("pk_data_keys")),
    )
    op.create_index(op.f("ix_data_keys_master"), "data_keys", ["master"], unique=False)
    op.create_table(
        "named_artifacts",
        sa.Column("policy", sa.String(length=71), nullable=False),
        sa.Column("artifact", sa.String(length=71), nullable=False),
        sa.Column("forget_request", sa.String(length=64), nullable=False),
        sa.Column("dropped_epoch", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("policy", "artifact", name=op.f("pk_named_artifacts")),
    )
    for column in ("artifact", "dropped_epoch", "forget_request"):
        op.create_index(
            op.f(f"ix_named_artifacts_{column}"), "named_artifacts", [column], unique=False
        )


def downgrade() -> None:
    # What is sealed under data keys would be unreadable without them.
    raise RuntimeError("sealed values cannot be brought back to the version before")
