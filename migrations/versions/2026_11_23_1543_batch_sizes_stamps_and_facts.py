"""Answers know their batch size, models their files, imported artifacts what is known of them."""

from alembic import op
import sqlalchemy as sa


revision = 'a7f6b78235a6'
down_revision = 'd85156e9d501'
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table('answer', schema=None) as batch_op:
        batch_op.add_column(sa.Column('batch_size', sa.Integer(), nullable=True))

    with op.batch_alter_table('artifact', schema=None) as batch_op:
        batch_op.add_column(sa.Column('facts', sa.JSON(none_as_null=True), nullable=True))

    with op.batch_alter_table('model', schema=None) as batch_op:
        batch_op.add_column(sa.Column('stamp', sa.String(length=71), nullable=True))
        batch_op.add_column(sa.Column('weights', sa.String(length=71), nullable=True))



def downgrade() -> None:
    with op.batch_alter_table('model', schema=None) as batch_op:
        batch_op.drop_column('weights')
        batch_op.drop_column('stamp')

    with op.batch_alter_table('artifact', schema=None) as batch_op:
        batch_op.drop_column('facts')

    with op.batch_alter_table('answer', schema=None) as batch_op:
        batch_op.drop_column('batch_size')

