"""Workers may be deaf."""

from alembic import op
import sqlalchemy as sa


revision = '5d0a7c1be244'
down_revision = '48613a5ece09'
branch_labels = None
depends_on = None


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    # Not in a batch, which would make the table anew: other tables refer to it.
    op.add_column('slot', sa.Column('deaf', sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    limit_lock_waits()
    op.drop_column('slot', 'deaf')
