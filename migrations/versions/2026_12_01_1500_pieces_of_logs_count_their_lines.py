"""Pieces of logs count their lines; the jobs that used an artifact are found; people keep lists of jobs."""

from alembic import op
import sqlalchemy as sa


revision = 'a41c07d95e3b'
down_revision = 'd2f08b6e4a91'
branch_labels = None
depends_on = None


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    op.add_column('log_chunk', sa.Column('newlines', sa.Integer(), server_default='0', nullable=False))
    op.create_index('ix_job_input_digest_job_id', 'job_input', ['digest', 'job_id'], unique=False)
    op.create_table('job_list',
    sa.Column('owner', sa.String(length=100), nullable=False),
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('query', sa.String(length=2000), nullable=False),
    sa.Column('opens_first', sa.Boolean(), nullable=False),
    sa.PrimaryKeyConstraint('owner', 'name', name=op.f('pk_job_list')),
    )


def downgrade() -> None:
    limit_lock_waits()
    op.drop_table('job_list')
    op.drop_index('ix_job_input_digest_job_id', table_name='job_input')
    op.drop_column('log_chunk', 'newlines')
