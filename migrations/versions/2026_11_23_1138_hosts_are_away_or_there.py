"""hosts are away or there."""

from alembic import op
import sqlalchemy as sa


revision = '37605dbbf3f4'
down_revision = '145be49a45bc'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('host',
    sa.Column('name', sa.String(length=63), nullable=False),
    sa.Column('away_since', sa.DateTime(timezone=True), nullable=True),
    sa.PrimaryKeyConstraint('name', name=op.f('pk_host'))
    )
    op.add_column('slot', sa.Column('lock_domain', sa.String(length=32), nullable=True))


def downgrade() -> None:
    op.drop_column('slot', 'lock_domain')
    op.drop_table('host')
