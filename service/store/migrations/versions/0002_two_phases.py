"""Epochs are prepared before they are current; replicas say what they are ready for."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("epochs", sa.Column("current_at", sa.BigInteger(), nullable=True))
    # Whatever was served before this version was current.
    op.execute("UPDATE epochs SET current_at = created_at")
    # A lease lasts seconds: replicas that run take theirs again.
    op.drop_table("replicas")
    _replicas("acked_epoch", "ready_epoch", "refused_epoch")


def downgrade() -> None:
    op.drop_table("replicas")
    _replicas("acked_epoch")
    with op.batch_alter_table("epochs") as epochs:
        epochs.drop_column("current_at")


def _replicas(*numbers: str) -> None:
    op.create_table(
        "replicas",
        sa.Column("id", sa.String(length=64), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in numbers),
        sa.Column("renewals", sa.BigInteger(), nullable=False),
        sa.Column("renewed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_replicas")),
    )
