"""Two real dispatcher processes on one database, of both kinds: one leads, whatever is done to it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from builders.lifecycle import a_job, a_slot, now
from eventually import eventually
from sqlalchemy import func, select

from orchestrator.model.states import JobState
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Job, Leader

pytestmark = pytest.mark.slow

TERM_SECONDS = 2
PATIENCE = 60


class Pair:
    """Two dispatchers that cannot reach a broker, which they can do without."""

    def __init__(self, database: Database, folder: Path) -> None:
        self.database = database
        env = {
            **os.environ,
            "TX81_DATABASE_URL": database.url.render_as_string(hide_password=False),
            "TX81_STATE_DIR": str(folder),
            "TX81_BROKER_URL": f"redis+socket://{folder}/nobody.sock",
            "TX81_LEADER_TERM": str(TERM_SECONDS),
            "TX81_LEASE": "3600",
        }
        self.processes: list[subprocess.Popen[bytes]] = []
        self.journals = [folder / "one.log", folder / "two.log"]
        for journal in self.journals:
            with journal.open("wb") as opened:
                command = [sys.executable, "-m", "orchestrator.dispatcher"]
                self.processes.append(subprocess.Popen(command, env=env, stdout=opened, stderr=opened))

    def leader(self) -> int:
        """Which of the two leads, once one of them does."""

        def leading() -> list[int]:
            with self.database.read() as session:
                holder = session.scalar(select(Leader.holder).where(Leader.expires_at > self.database.now(session)))
            return [n for n, process in enumerate(self.processes) if holder and f"#{process.pid}-" in holder]

        return eventually(leading, within=PATIENCE)[0]

    def placed(self, count: int) -> dict[int, int]:
        """Submit jobs; when all are assigned, how many attempts each job has, of all there are."""
        with self.database.write() as session:
            made = [a_job(session).id for _ in range(count)]

        def assigned() -> bool:
            with self.database.read() as session:
                states = session.scalars(select(Job.state).where(Job.id.in_(made))).all()
            return set(states) == {JobState.ASSIGNED}

        eventually(assigned, within=PATIENCE)
        with self.database.read() as session:
            attempts = session.execute(select(Attempt.job_id, func.count()).group_by(Attempt.job_id))
            return {job: number for job, number in attempts}  # noqa: C416  # rows are no pairs to a type checker

    def pause(self, number: int) -> None:
        """SIGSTOP between two transactions: SQLite has no way to take the database from a process that is stopped."""
        self.processes[number].send_signal(signal.SIGSTOP)
        if self.database.is_sqlite and self._holds_the_file():
            self.processes[number].send_signal(signal.SIGCONT)
            self.pause(number)

    def _holds_the_file(self) -> bool:
        busy = subprocess.run(
            [sys.executable, "-c", "import sqlite3, sys; sqlite3.connect(sys.argv[1], 1).execute('BEGIN IMMEDIATE')",
             self.database.url.database or ""],
            capture_output=True, check=False,
        )  # fmt: skip
        return busy.returncode != 0


@pytest.fixture
def pair(database: Database, tmp_path: Path) -> Iterator[Pair]:
    with database.write() as session:
        for name in [f"g{number}" for number in range(8)]:
            a_slot(session, name, heartbeat_at=now() + timedelta(hours=1))
    pair = Pair(database, tmp_path)
    yield pair
    for process in pair.processes:
        process.kill()
        process.wait()


def test_when_the_leader_is_killed_the_other_takes_over_and_no_attempt_is_doubled(pair: Pair):
    first = pair.leader()
    before = pair.placed(2)

    pair.processes[first].kill()
    after = pair.placed(2)

    assert pair.leader() != first
    assert sorted(before.values()) == [1, 1]
    assert sorted(after.values()) == [1, 1, 1, 1]


def test_a_leader_that_was_stopped_for_longer_than_its_term_leads_no_more_when_it_goes_on(pair: Pair):
    first = pair.leader()

    pair.pause(first)
    eventually(lambda: pair.leader() != first, within=PATIENCE)
    while_paused = pair.placed(2)
    pair.processes[first].send_signal(signal.SIGCONT)
    eventually(lambda: "another dispatcher leads" in pair.journals[first].read_text(), within=PATIENCE)
    afterwards = pair.placed(4)

    assert sorted(while_paused.values()) == [1, 1]
    assert sorted(afterwards.values()) == [1] * 6
