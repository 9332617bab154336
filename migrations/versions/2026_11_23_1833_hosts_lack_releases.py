"""It is known which releases a host lacks."""

from alembic import op
import sqlalchemy as sa


revision = 'fb50fabcc33c'
down_revision = 'a7f6b78235a6'
branch_labels = None
depends_on = None


def upgrade() -> None:
    # Not in a batch, which would make the table anew: other tables refer to it.
    op.add_column('slot', sa.Column('lacks', sa.JSON(none_as_null=True), nullable=True))


def downgrade() -> None:
    op.drop_column('slot', 'lacks')
