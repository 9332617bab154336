"""What must hold after every step, whatever happened: checked against the tables and against the events.

Asked in plain SQL on a connection of its own, and only after a commit, because it is asked thousands of times.
"""

import json
import sqlite3
from collections import defaultdict
from typing import Any

from orchestrator.model.specs import PRODUCES
from orchestrator.model.states import ATTEMPT_TRANSITIONS, FINAL, TRANSITIONS, AttemptState, JobState, ServiceState

_SERVICE = {
    "slot.draining": ServiceState.DRAINING,
    "slot.drained": ServiceState.DRAINED,
    "slot.quarantined": ServiceState.QUARANTINED,
    "slot.resumed": ServiceState.IN_SERVICE,
}

_EVENTS = "SELECT id, kind, job_id, attempt_id, slot_id, data FROM event WHERE id > ? ORDER BY id"
_BUSY_JOBS = "SELECT id, state FROM job WHERE state IN ('assigned', 'running')"
_LIVE_ATTEMPTS = "SELECT id, job_id, slot_ids, state FROM attempt WHERE state IN ('assigned', 'running')"
_ON_ANOTHER_SLOT = """
    SELECT id, slot_id, worker FROM attempt
    WHERE worker IS NOT NULL AND substr(worker, 1, length(slot_id) + 1) != slot_id || '#'
"""
_ACCEPTED = "SELECT job_id, count(*) FROM attempt WHERE state = 'succeeded' GROUP BY job_id"
_MADE = f"""
    SELECT job_id, count(*) FROM artifact
    WHERE attempt_id IS NOT NULL AND name IN ({", ".join(f"'{name}'" for name in PRODUCES.values())}) GROUP BY job_id
"""  # our own words


_UNBEGUN_OUT_OF_SERVICE = """
    SELECT attempt.id, slot.id FROM attempt
    JOIN lease ON lease.attempt_id = attempt.id JOIN slot ON slot.id = lease.slot_id
    WHERE attempt.state = 'assigned' AND slot.service_state != 'in_service'
"""
_IN_OTHERS_TIME = """
    SELECT attempt.id, reservation.id FROM attempt
    JOIN job ON job.id = attempt.job_id
    JOIN lease ON lease.attempt_id = attempt.id
    JOIN reservation_slot ON reservation_slot.slot_id = lease.slot_id
    JOIN reservation ON reservation.id = reservation_slot.reservation_id
    WHERE attempt.state = 'assigned' AND reservation.ended_at IS NULL
    AND reservation.created_at < attempt.assigned_at AND attempt.assigned_at < reservation.ends_at
    AND reservation.starts_at < datetime(attempt.assigned_at, '+' || job.run_seconds || ' seconds')
    AND (reservation.project IS NULL OR reservation.project != job.project)
"""


_OPEN_WITHOUT_SERVER = """
    SELECT endpoint.attempt_id FROM endpoint JOIN attempt ON attempt.id = endpoint.attempt_id
    WHERE (endpoint.closed_at IS NULL) != (attempt.state = 'running')
"""
_SERVED_UNASKED = "SELECT id FROM job WHERE kind = 'serve' AND state = 'succeeded' AND stop IS NULL"


_FAILED_FOR_ITS_SERVER = f"""
    SELECT job.id FROM job JOIN job_need ON job_need.job_id = job.id JOIN job server ON server.id = job_need.needs_id
    WHERE job.kind = 'client' AND job.state = 'failed' AND json_extract(job.failure, '$.kind') = 'server_gone'
    AND server.state NOT IN ({", ".join(f"'{state}'" for state in FINAL)})
    AND server.stop IS NULL AND NOT server.cancel_requested
    AND (SELECT count(*) FROM attempt WHERE attempt.job_id = job.id AND attempt.failure IS NOT NULL) < 3
"""  # our own words


_FIRED_TWICE = "SELECT schedule, due_at FROM suite_run WHERE due_at IS NOT NULL GROUP BY 1, 2 HAVING count(*) > 1"
_FIRED_FOR_NOTHING = """
    SELECT firing.id FROM schedule_firing firing LEFT JOIN suite_run ON suite_run.id = firing.run_id
    WHERE (firing.state = 'started') != (suite_run.id IS NOT NULL) OR suite_run.due_at != firing.due_at
"""
_RUN_UNFIRED = """
    SELECT id FROM suite_run
    WHERE due_at IS NOT NULL AND id NOT IN (SELECT run_id FROM schedule_firing WHERE run_id > 0)
"""
_JUDGED_EARLY = """
    SELECT suite_run.id FROM suite_run JOIN suite_job ON suite_job.run_id = suite_run.id
    JOIN job ON job.id = suite_job.job_id
    WHERE suite_run.cells IS NOT NULL AND job.state IN ('waiting', 'queued', 'assigned', 'running')
"""
_OPEN_RUNS = "SELECT id FROM suite_run WHERE ended_at IS NULL"
_WAITING_FIRINGS = "SELECT id FROM schedule_firing WHERE state = 'waiting'"
_WITHOUT_JOBS = "SELECT id FROM suite_run WHERE id NOT IN (SELECT run_id FROM suite_job)"


class Invariants:
    """Follows the events and compares the story they tell with what the tables say."""

    def __init__(self, file: str) -> None:
        self._sql = sqlite3.connect(file)
        self._version = 0
        self._seen = 0
        self._jobs: dict[int, JobState] = {}
        self._attempts: dict[int, AttemptState] = {}
        self._service: dict[str, ServiceState] = defaultdict(lambda: ServiceState.IN_SERVICE)
        self._held: set[int] = set()

    def check(self) -> None:
        """AssertionError says what is broken."""
        ((version,),) = self._rows("PRAGMA data_version")
        if version != self._version:
            self._version = version
            for event in self._rows(_EVENTS, self._seen):
                self._follow(*event)
            self._check_leases()
            self._check_story()
            self._check_results()
            self._check_servers()
            self._check_suites()

    def unjudged(self) -> list[int]:
        """Runs of suites, and firings that wait for one, without an end."""
        open_runs = "SELECT id FROM suite_run WHERE ended_at IS NULL UNION ALL"
        return [
            number for (number,) in self._rows(f"{open_runs} SELECT -id FROM schedule_firing WHERE state = 'waiting'")
        ]

    def unfinished(self) -> list[int]:
        """Jobs that have not ended."""
        return [job for job, state in self._jobs.items() if state not in FINAL]

    def close(self) -> None:
        """Give the connection back."""
        self._sql.close()

    def _rows(self, query: str, *values: Any) -> list[Any]:
        return self._sql.execute(query, values).fetchall()

    def _follow(self, number: int, kind: str, job: int, attempt: int, slot: str, data: str) -> None:
        self._seen = number
        subject, _, word = kind.partition(".")
        match subject:
            case "job" if kind == "job.created":
                self._jobs[job] = JobState.WAITING
            case "job" if word in list(JobState):
                self._job_moved(job, JobState(word), json.loads(data), attempt)
            case "job" if word in ("held", "released"):
                (self._held.add if word == "held" else self._held.discard)(job)
            case "attempt" if kind == "attempt.assigned":
                assert self._service[slot] is ServiceState.IN_SERVICE, f"placed on {slot}, which is out of service"
                assert job not in self._held, f"job {job} was placed while it was held"
                self._attempts[attempt] = AttemptState.ASSIGNED
            case "attempt" if word in list(AttemptState):
                self._attempt_moved(attempt, AttemptState(word))
            case "slot" if kind in _SERVICE:
                self._service[slot] = _SERVICE[kind]

    def _job_moved(self, job: int, to: JobState, data: dict[str, Any], attempt: int) -> None:
        start = JobState(data["start"])
        assert self._jobs[job] is start, f"job {job} left {start}, where the events never put it"
        assert to in TRANSITIONS[start], f"job {job} went from {start} to {to}"
        self._jobs[job] = to
        if to is JobState.RUNNING:
            self._attempt_moved(attempt, AttemptState.RUNNING)

    def _attempt_moved(self, attempt: int, to: AttemptState) -> None:
        assert to in ATTEMPT_TRANSITIONS[self._attempts[attempt]], f"attempt {attempt} had ended"
        self._attempts[attempt] = to

    def _check_leases(self) -> None:
        live = self._rows(_LIVE_ATTEMPTS)
        leases = self._rows("SELECT attempt_id, slot_id FROM lease")
        held = {(attempt, slot) for attempt, _, slots, _ in live for slot in json.loads(slots)}
        assert sorted(leases) == sorted(held), "each live attempt has its leases, all of them, and there is no other"
        waiting = self._rows(_UNBEGUN_OUT_OF_SERVICE)
        assert waiting == [], "nothing is about to begin on a slot that is out of service"
        assert self._rows(_IN_OTHERS_TIME) == [], "nothing was placed into somebody else's time"
        assert self._rows(_ON_ANOTHER_SLOT) == [], "an attempt is run by the worker of its lead slot, and by no other"
        busy = sorted((job, state) for _, job, _, state in live)
        assert busy == sorted(self._rows(_BUSY_JOBS)), "each busy job has one live attempt, in its state"

    def _check_story(self) -> None:
        assert dict(self._rows("SELECT id, state FROM job")) == self._jobs, "the events tell another story"
        assert dict(self._rows("SELECT id, state FROM attempt")) == self._attempts, "the events tell another story"
        for slot, state in self._rows("SELECT id, service_state FROM slot"):
            assert self._service[slot] == state, f"the events tell another story of {slot}"

    def _check_results(self) -> None:
        for job, count in self._rows(_ACCEPTED) + self._rows(_MADE):
            assert (count, self._jobs[job]) == (1, JobState.SUCCEEDED), f"job {job} has {count} results"

    def _check_servers(self) -> None:
        assert self._rows(_OPEN_WITHOUT_SERVER) == [], "an endpoint is open exactly while its attempt runs"
        assert self._rows(_FAILED_FOR_ITS_SERVER) == [], "a client does not fail while its server may be there again"
        assert self._rows(_SERVED_UNASKED) == [], "a server succeeds by being stopped, and only so"

    def _check_suites(self) -> None:
        assert self._rows(_FIRED_TWICE) == [], "a due time starts one run"
        assert self._rows(_FIRED_FOR_NOTHING) == [], "what is noted as started has a run, of that due time"
        assert self._rows(_RUN_UNFIRED) == [], "a run with a due time was fired"
        assert self._rows(_JUDGED_EARLY) == [], "a run is judged when all its jobs have ended"
        assert self._rows(_WITHOUT_JOBS) == [], "a run is written with its jobs"
