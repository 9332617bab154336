"""batches of jobs."""

from alembic import op
import sqlalchemy as sa


revision = '104e9890ea8e'
down_revision = '3e731c245b8e'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('batch',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('name', sa.String(length=100), nullable=False),
    sa.Column('project', sa.String(length=100), nullable=False),
    sa.Column('stop_on', sa.Enum('never', 'sticky_fault', 'failure', name='stopon', native_enum=False, length=20), nullable=False),
    sa.Column('size', sa.Integer(), nullable=False),
    sa.Column('left_out', sa.JSON(none_as_null=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('touched_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('sealed_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('stop', sa.JSON(none_as_null=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_batch'))
    )
    op.create_index('ix_batch_ended_at', 'batch', ['ended_at'], unique=False)
    op.add_column('attempt', sa.Column('answers_digest', sa.String(length=71), nullable=True))
    op.create_index(
        'ix_attempt_suspicion', 'attempt', ['job_id'], unique=False,
        sqlite_where=sa.text('suspicion IS NOT NULL'), postgresql_where=sa.text('suspicion IS NOT NULL'),
    )
    # With its reference inside: SQLite would have to copy the whole table to add one later.
    number = sa.BigInteger().with_variant(sa.Integer(), 'sqlite')
    reference = sa.ForeignKey('batch.id')
    op.add_column('job', sa.Column('batch_id', number, reference, nullable=True), inline_references=True)
    op.create_index(
        'ix_job_batch_id_state', 'job', ['batch_id', 'state'], unique=False,
        sqlite_where=sa.text('batch_id IS NOT NULL'), postgresql_where=sa.text('batch_id IS NOT NULL'),
    )


def downgrade() -> None:
    op.drop_index('ix_job_batch_id_state', table_name='job')
    # Its reference goes with it, on both databases.
    op.drop_column('job', 'batch_id')
    op.drop_index('ix_attempt_suspicion', table_name='attempt')
    op.drop_column('attempt', 'answers_digest')
    op.drop_table('batch')
