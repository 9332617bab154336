"""Attempts keep what their cards measured."""

from alembic import op
import sqlalchemy as sa


revision = 'a8c3f0d1e27b'
down_revision = '161494d134f3'
branch_labels = None
depends_on = None


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    # Not in a batch, which would make the table anew: other tables refer to it.
    op.add_column('attempt', sa.Column('telemetry', sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    limit_lock_waits()
    op.drop_column('attempt', 'telemetry')
