"""cards are trusted or not: canaries, people who want a slot back, and what has ended lately.

Indexes are made while the lab is stopped; on a table with millions of attempts each takes some seconds.
"""

from alembic import op
import sqlalchemy as sa


revision = 'a07a4161c574'
down_revision = '555e3279dbdf'
branch_labels = None
depends_on = None

CANARIES = sa.text("kind = 'canary'")


def upgrade() -> None:
    op.create_table(
        'canary',
        sa.Column('release', sa.String(length=100), nullable=False),
        sa.Column('spec', sa.JSON(none_as_null=True), nullable=False),
        sa.Column('set_by', sa.String(length=100), nullable=False),
        sa.Column('set_at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(['release'], ['release.name'], name=op.f('fk_canary_release_release')),
        sa.PrimaryKeyConstraint('release', name=op.f('pk_canary')),
    )
    op.add_column('slot', sa.Column('resume_requested', sa.JSON(none_as_null=True), nullable=True))
    op.create_index('ix_attempt_ended_at', 'attempt', ['ended_at'], unique=False)
    op.create_index('ix_attempt_slot_id_ended_at', 'attempt', ['slot_id', 'ended_at'], unique=False)
    op.create_index('ix_job_canary', 'job', ['id'], unique=False, sqlite_where=CANARIES, postgresql_where=CANARIES)


def downgrade() -> None:
    op.drop_index('ix_job_canary', table_name='job')
    op.drop_index('ix_attempt_slot_id_ended_at', table_name='attempt')
    op.drop_index('ix_attempt_ended_at', table_name='attempt')
    op.drop_column('slot', 'resume_requested')
    op.drop_table('canary')
