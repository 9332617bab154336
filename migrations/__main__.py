"""Bring the configured database to the newest schema: `python -m migrations`."""

import sys
from pathlib import Path

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


def main() -> int:
    """Upgrade; prints nothing when there is nothing to do."""
    Settings().state_dir.mkdir(parents=True, exist_ok=True)
    command.upgrade(config(), "head")
    return 0


if __name__ == "__main__":
    sys.exit(main())
