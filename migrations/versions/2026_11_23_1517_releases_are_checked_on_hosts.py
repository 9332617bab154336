"""releases are checked on hosts."""

from alembic import op
import sqlalchemy as sa


revision = 'abf0f7052ddc'
down_revision = '351ab13a173e'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        'release_check',
        sa.Column('release', sa.String(length=100), nullable=False),
        sa.Column('host', sa.String(length=100), nullable=False),
        sa.Column('root', sa.Text(), nullable=False),
        sa.Column('ok', sa.Boolean(), nullable=False),
        sa.Column('findings', sa.JSON(), nullable=False),
        sa.Column('by', sa.String(length=100), nullable=False),
        sa.Column('checked_at', sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(['release'], ['release.name'], name=op.f('fk_release_check_release_release')),
        sa.PrimaryKeyConstraint('release', 'host', name=op.f('pk_release_check')),
    )


def downgrade() -> None:
    op.drop_table('release_check')
