"""hold and order jobs, keep why slots are out of service.

Columns are added and dropped by plain ALTER TABLE: a copy of the table would have to drop the one that others refer to.
"""

from alembic import op
import sqlalchemy as sa


revision = 'cf4b82aa523f'
down_revision = '0834c36e1752'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('attempt', sa.Column('suspicion', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('job', sa.Column('rank', sa.BigInteger(), server_default='0', nullable=False))
    op.add_column('job', sa.Column('held', sa.Boolean(), server_default=sa.false(), nullable=False))
    op.add_column('job', sa.Column('hold', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('slot', sa.Column('service_change', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('slot', sa.Column('quarantined_because', sa.JSON(none_as_null=True), nullable=True))
    op.drop_index('ix_job_queue', table_name='job')
    op.create_index(
        'ix_job_queue', 'job', ['state', 'held', 'demand', sa.literal_column('priority DESC'), 'rank', 'id'], unique=False
    )


def downgrade() -> None:
    op.drop_index('ix_job_queue', table_name='job')
    op.create_index('ix_job_queue', 'job', ['state', 'demand', 'priority', 'id'], unique=False)
    op.drop_column('slot', 'quarantined_because')
    op.drop_column('slot', 'service_change')
    op.drop_column('job', 'hold')
    op.drop_column('job', 'held')
    op.drop_column('job', 'rank')
    op.drop_column('attempt', 'suspicion')
