"""Hosts lack more than releases.

What was known of releases in the old form is forgotten: a host that lacks one says so again.
"""

from alembic import op
import sqlalchemy as sa


revision = '0b7e2f4c91d3'
down_revision = '5d0a7c1be244'
branch_labels = None
depends_on = None

_SLOT = sa.table('slot', sa.column('lacks', sa.JSON(none_as_null=True)))


def upgrade() -> None:
    op.execute(_SLOT.update().values(lacks=sa.null()))


def downgrade() -> None:
    op.execute(_SLOT.update().values(lacks=sa.null()))
