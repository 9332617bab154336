"""a job may have no release yet.

One that provisions a host registers the release that it has installed.
"""

from alembic import op
import sqlalchemy as sa


revision = 'd85156e9d501'
down_revision = 'abf0f7052ddc'
branch_labels = None
depends_on = None

_OPTIONAL, _NEEDED = 'release VARCHAR(100)', 'release VARCHAR(100) NOT NULL'


def upgrade() -> None:
    if op.get_bind().dialect.name == 'sqlite':
        _reword(_NEEDED, _OPTIONAL)
    else:
        op.alter_column('job', 'release', existing_type=sa.String(length=100), nullable=True)


def downgrade() -> None:
    # What has no release is shown with one, as the older schema wants it.
    op.execute('UPDATE job SET release = (SELECT min(name) FROM release) WHERE release IS NULL')
    if op.get_bind().dialect.name == 'sqlite':
        _reword(_OPTIONAL, _NEEDED)
    else:
        op.alter_column('job', 'release', existing_type=sa.String(length=100), nullable=False)


def _reword(old: str, new: str) -> None:
    """Change a constraint of a column in the table's text, as SQLite's page on ALTER TABLE has it for those that change
    nothing on disk: a copy of the table could not take its place while other tables refer to it."""
    bind = op.get_bind()
    version = bind.exec_driver_sql('PRAGMA schema_version').scalar_one()
    bind.exec_driver_sql('PRAGMA writable_schema = ON')
    text = sa.text("UPDATE sqlite_master SET sql = replace(sql, :old, :new) WHERE type = 'table' AND name = 'job'")
    bind.execute(text, {'old': f'{old},', 'new': f'{new},'})
    bind.exec_driver_sql(f'PRAGMA schema_version = {version + 1}')
    bind.exec_driver_sql('PRAGMA writable_schema = OFF')
