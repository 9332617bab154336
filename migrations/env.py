"""How Alembic reaches the database: the URL comes from the settings, the target from the mapped classes."""

from contextlib import closing

from alembic import context

from migrations.__main__ import default_differs
from orchestrator.settings import Settings
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Base
from orchestrator.storage.tables.base import Instant


def _plain(kind: str, column_type: object, _context: object) -> str | bool:
    """The meaning of a migration must never change, so it names none of our types."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(column_type, Instant) else False


url = context.config.get_main_option("sqlalchemy.url") or Settings().database

with closing(Database(url)) as database, database.engine.connect() as connection:
    context.configure(
        connection=connection,
        target_metadata=Base.metadata,
        render_as_batch=database.is_sqlite,
        compare_server_default=default_differs,
        render_item=_plain,
    )
    with context.begin_transaction():
        if not database.is_sqlite:
            # For migrations that do not set it themselves, and for Alembic's own table (see script.py.mako).
            connection.exec_driver_sql("SET LOCAL lock_timeout = '5s'")
        context.run_migrations()
    connection.commit()
