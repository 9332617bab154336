"""Clients know which server is gone."""

from alembic import op
import sqlalchemy as sa


revision = '81a8acfcded9'
down_revision = 'fb50fabcc33c'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('job_need', schema=None) as batch_op:
        batch_op.add_column(sa.Column('gone_attempt_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=True))



def downgrade() -> None:
    with op.batch_alter_table('job_need', schema=None) as batch_op:
        batch_op.drop_column('gone_attempt_id')

