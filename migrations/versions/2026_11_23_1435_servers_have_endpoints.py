"""servers have endpoints, jobs may need one, and servers are asked to end.

New columns have constants as defaults: no table is rewritten.
"""

from alembic import op
import sqlalchemy as sa


revision = '351ab13a173e'
down_revision = 'a07a4161c574'
branch_labels = None
depends_on = None

SERVERS = sa.text("kind = 'serve'")
OPEN = sa.text('closed_at IS NULL')


def upgrade() -> None:
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    op.create_table(
        'endpoint',
        sa.Column('attempt_id', number, nullable=False),
        sa.Column('job_id', number, nullable=False),
        sa.Column('model', sa.String(length=100), nullable=False),
        sa.Column('served_id', sa.Text(), nullable=False),
        sa.Column('url', sa.String(length=300), nullable=False),
        sa.Column('groups', sa.Integer(), nullable=False),
        sa.Column('ready_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('last_used_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('closed_at', sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(['attempt_id'], ['attempt.id'], name=op.f('fk_endpoint_attempt_id_attempt')),
        sa.ForeignKeyConstraint(['job_id'], ['job.id'], name=op.f('fk_endpoint_job_id_job')),
        sa.PrimaryKeyConstraint('attempt_id', name=op.f('pk_endpoint')),
    )
    op.create_index(op.f('ix_endpoint_job_id'), 'endpoint', ['job_id'], unique=False)
    op.create_index('ix_endpoint_open', 'endpoint', ['model'], unique=False, sqlite_where=OPEN, postgresql_where=OPEN)
    op.add_column('job', sa.Column('stop', sa.JSON(none_as_null=True), nullable=True))
    op.create_index('ix_job_serve', 'job', ['state'], unique=False, sqlite_where=SERVERS, postgresql_where=SERVERS)
    until = sa.Enum('succeeded', 'ready', name='until', native_enum=False, length=20)
    op.add_column('job_need', sa.Column('until', until, server_default='succeeded', nullable=False))


def downgrade() -> None:
    op.drop_column('job_need', 'until')
    op.drop_index('ix_job_serve', table_name='job')
    op.drop_column('job', 'stop')
    op.drop_table('endpoint')
