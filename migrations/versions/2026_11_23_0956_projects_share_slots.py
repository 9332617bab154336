"""projects share slots."""

from alembic import op
import sqlalchemy as sa


revision = 'e7c00e1da3a2'
down_revision = '0834c36e1752'
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
    with op.batch_alter_table('job', schema=None) as batch_op:
        batch_op.drop_index(batch_op.f('ix_job_queue'))
        batch_op.create_index('ix_job_queue', ['state', 'demand', 'project', 'priority', 'id'], unique=False)

    with op.batch_alter_table('slot', schema=None) as batch_op:
        batch_op.add_column(sa.Column('labels', sa.JSON(none_as_null=True), nullable=True))
        batch_op.add_column(sa.Column('kcore', sa.String(length=71), nullable=True))


def downgrade() -> None:
    with op.batch_alter_table('slot', schema=None) as batch_op:
        batch_op.drop_column('kcore')
        batch_op.drop_column('labels')

    with op.batch_alter_table('job', schema=None) as batch_op:
        batch_op.drop_index('ix_job_queue')
        batch_op.create_index(batch_op.f('ix_job_queue'), ['state', 'demand', 'priority', 'id'], unique=False)

    op.drop_table('project')
