"""slots are reserved."""

from alembic import op
import sqlalchemy as sa


revision = '555e3279dbdf'
down_revision = '37605dbbf3f4'
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table('reservation',
    sa.Column('id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('project', sa.String(length=100), nullable=True),
    sa.Column('by', sa.String(length=100), nullable=False),
    sa.Column('note', sa.Text(), nullable=True),
    sa.Column('starts_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('ends_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('began_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('ended_at', sa.DateTime(timezone=True), nullable=True),
    sa.Column('cancelled', sa.JSON(none_as_null=True), nullable=True),
    sa.PrimaryKeyConstraint('id', name=op.f('pk_reservation'))
    )
    op.create_index('ix_reservation_ended_at', 'reservation', ['ended_at'], unique=False)
    op.create_table('reservation_slot',
    sa.Column('reservation_id', sa.BigInteger().with_variant(sa.Integer(), 'sqlite'), nullable=False),
    sa.Column('slot_id', sa.String(length=80), nullable=False),
    sa.ForeignKeyConstraint(['reservation_id'], ['reservation.id'], name=op.f('fk_reservation_slot_reservation_id_reservation')),
    sa.ForeignKeyConstraint(['slot_id'], ['slot.id'], name=op.f('fk_reservation_slot_slot_id_slot')),
    sa.PrimaryKeyConstraint('reservation_id', 'slot_id', name=op.f('pk_reservation_slot'))
    )
    op.create_index('ix_reservation_slot_slot_id', 'reservation_slot', ['slot_id'], unique=False)



def downgrade() -> None:
    op.drop_table('reservation_slot')
    op.drop_table('reservation')
