"""The history of a slot is found."""

from alembic import op
import sqlalchemy as sa


revision = 'b4d92e7c6f15'
down_revision = 'a8c3f0d1e27b'
branch_labels = None
depends_on = None

# A migration of its own: on PostgreSQL no event is written while the index is made.
SLOT_HISTORY = (
    "kind IN ('slot.draining', 'slot.drained', 'slot.quarantined', 'slot.resumed', 'slot.resume_refused', 'slot.deaf', "
    "'results.doubted', 'doubt.lifted')"
)


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    op.create_index(
        'ix_event_slot_history', 'event', ['slot_id', 'id'],
        sqlite_where=sa.text(SLOT_HISTORY), postgresql_where=sa.text(SLOT_HISTORY),
    )


def downgrade() -> None:
    limit_lock_waits()
    op.drop_index('ix_event_slot_history', 'event')
