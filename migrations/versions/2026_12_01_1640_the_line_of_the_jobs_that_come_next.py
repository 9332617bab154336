"""the line: the queued jobs that come next, for slots that become free.

It is empty at first: until the dispatcher has written it, only turns place jobs.
"""

from alembic import op
import sqlalchemy as sa


revision = 'a4b8d3c61e57'
down_revision = 'a41c07d95e3b'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'line',
        sa.Column('id', sa.Integer(), autoincrement=False, nullable=False),
        sa.Column('planned_at', sa.DateTime(timezone=True), nullable=False),
        sa.Column('due_at', sa.DateTime(timezone=True), nullable=True),
        sa.Column('size', sa.Integer(), nullable=False),
        sa.Column('middle', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True),
        sa.Column('several', sa.Boolean(), nullable=False),
        sa.Column('lowest', sa.Integer(), nullable=False),
        sa.Column('project', sa.String(length=100), nullable=True),
        sa.Column('jobs', sa.JSON(none_as_null=True), nullable=False),
        sa.PrimaryKeyConstraint('id', name=op.f('pk_line')),
    )


def downgrade() -> None:
    op.drop_table('line')
