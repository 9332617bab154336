"""What must hold after every step, whatever happened: checked against the tables and against the events."""

from collections import defaultdict

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from orchestrator.model.specs import PRODUCES
from orchestrator.model.states import ATTEMPT_TRANSITIONS, FINAL, TRANSITIONS, AttemptState, JobState, ServiceState
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact, Attempt, Event, Job, Lease, Slot

LIVE = (AttemptState.ASSIGNED, AttemptState.RUNNING)
_SERVICE = {
    "slot.draining": ServiceState.DRAINING,
    "slot.drained": ServiceState.DRAINED,
    "slot.quarantined": ServiceState.QUARANTINED,
    "slot.resumed": ServiceState.IN_SERVICE,
}


class Invariants:
    """Follows the events and compares the story they tell with what the tables say."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._seen = 0
        self._jobs: dict[int, JobState] = {}
        self._attempts: dict[int, AttemptState] = {}
        self._service: dict[str, ServiceState] = defaultdict(lambda: ServiceState.IN_SERVICE)
        self._held: set[int] = set()

    def check(self) -> None:
        """AssertionError says what is broken."""
        with self._database.read() as session:
            self._follow(session)
            self._check_leases(session)
            self._check_story(session)
            self._check_results(session)

    def _follow(self, session: Session) -> None:
        for event in session.scalars(select(Event).where(Event.id > self._seen).order_by(Event.id)):
            self._seen = event.id
            subject, _, word = event.kind.partition(".")
            match subject:
                case "job" if event.kind == "job.created":
                    self._jobs[event.job_id] = JobState.WAITING
                case "job" if word in list(JobState):
                    self._job_moved(event, JobState(word))
                case "job" if word in ("held", "released"):
                    (self._held.add if word == "held" else self._held.discard)(event.job_id)
                case "attempt" if event.kind == "attempt.assigned":
                    self._placed(event)
                case "attempt" if word in list(AttemptState):
                    self._attempt_moved(event.attempt_id, AttemptState(word))
                case "slot" if event.kind in _SERVICE:
                    self._service[event.slot_id] = _SERVICE[event.kind]

    def _job_moved(self, event: Event, to: JobState) -> None:
        start = JobState(event.data["start"])
        assert self._jobs[event.job_id] is start, f"job {event.job_id} left {start} where the events never put it"
        assert to in TRANSITIONS[start]
        self._jobs[event.job_id] = to
        if to is JobState.RUNNING:
            self._attempt_moved(event.data.get("attempt_id") or event.attempt_id, AttemptState.RUNNING)

    def _placed(self, event: Event) -> None:
        assert self._service[event.slot_id] is ServiceState.IN_SERVICE, f"placed on {event.slot_id}, out of service"
        assert event.job_id not in self._held, f"job {event.job_id} was placed while it was held"
        self._attempts[event.attempt_id] = AttemptState.ASSIGNED

    def _attempt_moved(self, attempt_id: int, to: AttemptState) -> None:
        assert to in ATTEMPT_TRANSITIONS[self._attempts[attempt_id]], f"attempt {attempt_id} had ended"
        self._attempts[attempt_id] = to

    def _check_leases(self, session: Session) -> None:
        leases = {(attempt, slot) for attempt, slot in session.execute(select(Lease.attempt_id, Lease.slot_id))}
        live = session.scalars(select(Attempt).where(Attempt.state.in_(LIVE))).all()
        assert leases == {(attempt.id, attempt.slot_id) for attempt in live}, "a lease for each live attempt, no other"
        busy = {job.id: job.state for job in session.scalars(select(Job).where(Job.state.in_(list(LIVE))))}
        assert busy == {attempt.job_id: JobState(attempt.state) for attempt in live}, "a busy job has one live attempt"
        assert len(live) == len(busy)

    def _check_story(self, session: Session) -> None:
        jobs = {job: state for job, state in session.execute(select(Job.id, Job.state))}
        assert jobs == self._jobs, "the events tell another story of the jobs"
        attempts = {attempt: state for attempt, state in session.execute(select(Attempt.id, Attempt.state))}
        assert attempts == self._attempts, "the events tell another story of the attempts"
        for slot_id, state in session.execute(select(Slot.id, Slot.service_state)):
            assert self._service[slot_id] is state, f"the events tell another story of {slot_id}"

    def _check_results(self, session: Session) -> None:
        accepted = select(Attempt.job_id, func.count()).where(Attempt.state == AttemptState.SUCCEEDED)
        for job_id, count in session.execute(accepted.group_by(Attempt.job_id)):
            assert (count, self._jobs[job_id]) == (1, JobState.SUCCEEDED), f"job {job_id} has {count} results"
        made = select(Artifact.job_id, func.count()).where(Artifact.attempt_id.is_not(None))
        named = made.where(Artifact.name.in_(PRODUCES.values())).group_by(Artifact.job_id)
        for job_id, count in session.execute(named):
            assert (count, self._jobs[job_id]) == (1, JobState.SUCCEEDED), f"job {job_id} has {count} outputs"

    def unfinished(self) -> list[int]:
        """Jobs that have not ended."""
        return [job for job, state in self._jobs.items() if state not in FINAL]
