"""an attempt holds several slots.

Every attempt so far held one, and every answer was given in the first batch. The attempts are written once each, in the
one transaction: a lab with millions of them waits for it.
"""

from alembic import op
import sqlalchemy as sa


revision = '145be49a45bc'
down_revision = '104e9890ea8e'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column('attempt', sa.Column('slot_ids', sa.JSON(), server_default='[]', nullable=False))
    listed = 'json_array' if op.get_bind().dialect.name == 'sqlite' else 'json_build_array'
    op.execute(f'UPDATE attempt SET slot_ids = {listed}(slot_id)')
    with op.batch_alter_table('answer') as batch_op:
        batch_op.add_column(sa.Column('batch', sa.Integer(), server_default='0', nullable=False))
        batch_op.drop_constraint('pk_answer', type_='primary')
        batch_op.create_primary_key('pk_answer', ['attempt_id', 'repeat', 'index', 'batch'])


def downgrade() -> None:
    op.execute('DELETE FROM answer WHERE batch > 0')
    with op.batch_alter_table('answer') as batch_op:
        batch_op.drop_constraint('pk_answer', type_='primary')
        batch_op.create_primary_key('pk_answer', ['attempt_id', 'repeat', 'index'])
        batch_op.drop_column('batch')
    op.drop_column('attempt', 'slot_ids')
