"""Bring the configured database to the newest schema: `python -m migrations`."""

import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from alembic import command
from alembic.config import Config

from orchestrator.settings import Settings


def config(url: str | None = None) -> Config:
    """Alembic's configuration for `url`, or for the database of the settings."""
    made = Config()
    made.set_main_option("script_location", str(Path(__file__).parent))
    made.set_main_option("file_template", "%%(year)d_%%(month).2d_%%(day).2d_%%(hour).2d%%(minute).2d_%%(slug)s")
    if url is not None:
        made.set_main_option("sqlalchemy.url", url.replace("%", "%%"))
    return made


def write(what: str) -> None:
    """Write the migration from the newest one to the tables as they are in the code."""
    with TemporaryDirectory() as folder:
        scratch = config(f"sqlite:///{folder}/scratch.db")
        command.upgrade(scratch, "head")
        command.revision(scratch, what, autogenerate=True)


def main(argv: list[str]) -> int:
    """Upgrade; `write "what it does"` writes a new migration instead."""
    match argv:
        case []:
            Settings().state_dir.mkdir(parents=True, exist_ok=True)
            command.upgrade(config(), "head")
        case ["write", what] if what:
            write(what)
        case _:
            print('usage: python -m migrations [write "what it does"]', file=sys.stderr)
            return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
