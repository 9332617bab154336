"""Browsers sign in."""

from alembic import op
import sqlalchemy as sa


revision = 'd2f08b6e4a91'
down_revision = '37d28d7454fe'
branch_labels = None
depends_on = None


def limit_lock_waits() -> None:
    """Fail after 5 s instead of waiting for a lock: all other statements on that table would wait for this migration."""
    if op.get_context().dialect.name == "postgresql":
        op.execute("SET LOCAL lock_timeout = '5s'")


def upgrade() -> None:
    limit_lock_waits()
    op.create_table('web_session',
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('token_id', sa.Integer(), nullable=False),
    sa.Column('created_at', sa.DateTime(timezone=True), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['token_id'], ['token.id'], name=op.f('fk_web_session_token_id_token')),
    sa.PrimaryKeyConstraint('sha256', name=op.f('pk_web_session')),
    )
    op.create_index(op.f('ix_web_session_expires_at'), 'web_session', ['expires_at'], unique=False)
    op.create_table('sign_in_link',
    sa.Column('sha256', sa.String(length=64), nullable=False),
    sa.Column('token_id', sa.Integer(), nullable=False),
    sa.Column('expires_at', sa.DateTime(timezone=True), nullable=False),
    sa.ForeignKeyConstraint(['token_id'], ['token.id'], name=op.f('fk_sign_in_link_token_id_token')),
    sa.PrimaryKeyConstraint('sha256', name=op.f('pk_sign_in_link')),
    )
    op.create_index(op.f('ix_sign_in_link_expires_at'), 'sign_in_link', ['expires_at'], unique=False)


def downgrade() -> None:
    limit_lock_waits()
    op.drop_index(op.f('ix_sign_in_link_expires_at'), table_name='sign_in_link')
    op.drop_table('sign_in_link')
    op.drop_index(op.f('ix_web_session_expires_at'), table_name='web_session')
    op.drop_table('web_session')
