"""${message}."""

from alembic import op
import sqlalchemy as sa
${imports if imports else ""}

revision = ${repr(up_revision)}
down_revision = ${repr(down_revision)}
branch_labels = ${repr(branch_labels)}
depends_on = ${repr(depends_on)}

# Order of statements. On PostgreSQL everything below is one transaction, and a lock is held until it commits:
# 1. New tables, and what touches only them.
# 2. Changes of tables that are in use, the busiest last (event, slot, lease, attempt, job). A new column has no default
#    or a constant one: anything else rewrites the table under its lock.
# Rows of a large table are filled, and indexes on it are made, in a migration of their own.


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    ${upgrades if upgrades else "pass"}


def downgrade() -> None:
    limit_lock_waits()
    ${downgrades if downgrades else "pass"}
