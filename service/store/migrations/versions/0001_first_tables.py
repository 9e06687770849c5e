"""The first tables: forget requests, policies, epochs, replicas, API keys, admin acts."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_SEQUENCE = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "admin_acts",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("key_id", sa.String(length=64), nullable=False),
        sa.Column("act", sa.String(length=32), nullable=False),
        sa.Column("target", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_admin_acts")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.Column("plane", sa.String(length=8), nullable=False),
        sa.Column("tenant", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("plane IN ('data', 'admin')", name=op.f("ck_api_keys_plane")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
    )
    op.create_table(
        "epochs",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("signature", sa.String(length=64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_epochs")),
    )
    op.create_table(
        "forget_requests",
        sa.Column("seq", _SEQUENCE, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=16), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=True),
        sa.Column("strategy", sa.String(length=32), nullable=False),
        sa.Column("policy", sa.String(length=71), nullable=True),
        sa.Column("epoch", sa.BigInteger(), nullable=False),
        sa.Column("enforced_at", sa.BigInteger(), nullable=True),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("idempotency", sa.String(length=64), nullable=True),
        sa.Column("fingerprint", sa.String(length=64), nullable=True),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_forget_requests")),
        sa.UniqueConstraint("id", name=op.f("uq_forget_requests_id")),
        sa.UniqueConstraint("idempotency", name=op.f("uq_forget_requests_idempotency")),
        sqlite_autoincrement=True,
    )
    op.create_index(
        op.f("ix_forget_requests_expires_at"), "forget_requests", ["expires_at"], unique=False
    )
    op.create_index(op.f("ix_forget_requests_state"), "forget_requests", ["state"], unique=False)
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(length=64), nullable=False),
        sa.Column("acked_epoch", sa.BigInteger(), nullable=False),
        sa.Column("renewals", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
    op.create_table(
        "policies",
        sa.Column("digest", sa.String(length=71), nullable=False),
        sa.Column("forget_request", sa.String(length=64), nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["forget_request"], ["forget_requests.id"], name=op.f("fk_policies_forget_request")
        ),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_policies")),
    )
    op.create_index(
        op.f("ix_policies_forget_request"), "policies", ["forget_request"], unique=False
    )


def downgrade() -> None:
    op.drop_index(op.f("ix_policies_forget_request"), table_name="policies")
    op.drop_table("policies")
    op.drop_table("replicas")
    op.drop_index(op.f("ix_forget_requests_state"), table_name="forget_requests")
    op.drop_index(op.f("ix_forget_requests_expires_at"), table_name="forget_requests")
    op.drop_table("forget_requests")
    op.drop_table("epochs")
    op.drop_table("api_keys")
    op.drop_table("admin_acts")
