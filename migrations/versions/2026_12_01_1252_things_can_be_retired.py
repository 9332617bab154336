"""Things can be retired."""

from alembic import op
import sqlalchemy as sa


revision = 'c7e15a9d3b82'
down_revision = 'b4d92e7c6f15'
branch_labels = None
depends_on = None


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    op.create_table('retirement',
    sa.Column('kind', sa.Enum('model', 'release', 'host', 'artifact', name='retirable', native_enum=False, length=20), nullable=False),
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('by', sa.String(length=100), nullable=False),
    sa.Column('note', sa.Text(), nullable=True),
    sa.Column('at', sa.DateTime(timezone=True), nullable=False),
    sa.PrimaryKeyConstraint('kind', 'name', name=op.f('pk_retirement')),
    )


def downgrade() -> None:
    limit_lock_waits()
    op.drop_table('retirement')
