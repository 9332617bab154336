"""tokens can be revoked."""

from alembic import op
import sqlalchemy as sa


revision = '3e731c245b8e'
down_revision = 'e7c00e1da3a2'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('token', sa.Column('revoked_at', sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    op.drop_column('token', 'revoked_at')
