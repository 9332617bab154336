"""The leader knows its broker."""

from alembic import op
import sqlalchemy as sa


revision = 'c4d19e0a7b52'
down_revision = 'ebb15e583725'
branch_labels = None
depends_on = None


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    op.add_column('leader', sa.Column('broker', sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    limit_lock_waits()
    op.drop_column('leader', 'broker')
