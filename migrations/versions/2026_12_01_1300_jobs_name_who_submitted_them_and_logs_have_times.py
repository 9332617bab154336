"""jobs, pipelines and batches name who submitted them, and logs have times.

Rows that exist name nobody, and logs that exist have no times: nothing says which.
"""

from alembic import op
import sqlalchemy as sa


revision = '7f3c5a90d1e8'
down_revision = 'c7e15a9d3b82'
branch_labels = None
depends_on = None

_TABLES = ('pipeline', 'batch', 'job')


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    for table in _TABLES:
        op.add_column(table, sa.Column('submitted_by', sa.String(length=120), nullable=True))
    op.add_column('log_chunk', sa.Column('at', sa.DateTime(timezone=True), nullable=True))
    op.add_column('attempt', sa.Column('log_times', sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    limit_lock_waits()
    op.drop_column('attempt', 'log_times')
    op.drop_column('log_chunk', 'at')
    for table in reversed(_TABLES):
        op.drop_column(table, 'submitted_by')
