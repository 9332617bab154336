"""a job says who cancelled it.

A job that is being cancelled while this runs was ordered to by somebody whom no row names.
"""

from alembic import op
import sqlalchemy as sa


revision = 'c4b1d09e7a52'
down_revision = '81a8acfcded9'
branch_labels = None
depends_on = None

_JOB = sa.table(
    'job',
    sa.column('state', sa.String()),
    sa.column('cancel_requested', sa.Boolean()),
    sa.column('cancel', sa.JSON()),
)


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    op.add_column('job', sa.Column('cancel', sa.JSON(none_as_null=True), nullable=True))
    being_cancelled = (_JOB.c.state == 'running', _JOB.c.cancel_requested)
    op.execute(_JOB.update().where(*being_cancelled).values(cancel={'by': None, 'why': None, 'at': None}))


def downgrade() -> None:
    limit_lock_waits()
    op.drop_column('job', 'cancel')
