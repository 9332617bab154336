"""Upgrade the configured database to the newest schema: `python -m migrations`."""

from tx81.start import begin_service, modules_loaded

if __name__ == "__main__":
    begin_service()  # before anything that reads the environment is imported


import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import JSON, Column

from orchestrator.settings import settings_of_service, url_of_sqlite
from orchestrator.storage.away import AWAY, why


def config(url: str | None = None) -> Config:
    """Alembic's configuration for `url`, or for the database of the settings."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    made.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d_%%(slug)s")
    if url is not None:
        made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def default_differs(
    _context: object, _there: object, column: Column[Any], there: str | None, _default: object, wanted: str | None
) -> bool | None:
    """Alembic's hook that decides whether the server default of a column has changed; None lets Alembic decide.

    Alembic would let PostgreSQL compare two JSON values, which PostgreSQL cannot do.
    """
    if not isinstance(column.type, JSON) or there is None or wanted is None:
        return None
    return there.removesuffix("::json").strip("'") != wanted.strip("'")


def write(what: str) -> None:
    """Write the migration from the newest revision to the tables in the code."""
    with TemporaryDirectory() as folder:
        scratch = config(url_of_sqlite(Path(folder) / "scratch.db"))
        command.upgrade(scratch, "head")
        command.revision(scratch, what, autogenerate=True)


def _upgraded() -> int:
    try:
        command.upgrade(config(), "head")
    except AWAY as trouble:
        problem = f"TX81_DATABASE_URL: the database does not answer: {why(trouble)}"
    except CommandError as trouble:
        problem = f"TX81_DATABASE_URL: {trouble}: is the database of a newer version, or another program's?"
    else:
        return 0
    print(problem, file=sys.stderr)
    return 2


def main(argv: list[str]) -> int:
    """Upgrade; `write "what it does"` writes a new migration instead."""
    match argv:
        case []:
            settings_of_service(make_state=True)
            return _upgraded()
        case ["write", what] if what:
            write(what)
        case _:
            print('usage: python -m migrations [write "what it does"]', file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    modules_loaded()
    sys.exit(main(sys.argv[1:]))
