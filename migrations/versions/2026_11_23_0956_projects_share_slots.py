"""projects share slots."""

from alembic import op
import sqlalchemy as sa


revision = 'e7c00e1da3a2'
down_revision = 'cf4b82aa523f'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('project',
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('weight', sa.Double(), nullable=False),
    sa.Column('used_seconds', sa.Double(), nullable=False),
    sa.Column('used_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('half_life_seconds', sa.Double(), nullable=False),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_project'))
    )
    # Every project that has had a job starts anew, with nothing used.
    op.execute(
        "INSERT INTO project (name, weight, used_seconds, used_at, half_life_seconds) "
        "SELECT project, 1.0, 0.0, max(created_at), 86400.0 FROM job GROUP BY project"
    )
    op.drop_index('ix_job_queue', table_name='job')
    op.create_index(
        'ix_job_queue', 'job', ['state', 'held', 'demand', 'project', 'priority', 'rank', 'id'], unique=False
    )
    op.add_column('slot', sa.Column('labels', sa.JSON(none_as_null=True), nullable=True))
    op.add_column('slot', sa.Column('kcore', sa.String(length=71), nullable=True))


def downgrade() -> None:
    op.drop_column('slot', 'kcore')
    op.drop_column('slot', 'labels')
    op.drop_index('ix_job_queue', table_name='job')
    op.create_index(
        'ix_job_queue', 'job', ['state', 'held', 'demand', sa.literal_column('priority DESC'), 'rank', 'id'], unique=False
    )
    op.drop_table('project')
