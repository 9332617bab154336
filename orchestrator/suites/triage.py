"""Triage of one job: its small cross of runs is submitted as a batch, and the verdict is read from their results."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.batches.submit import BatchSubmission
from orchestrator.errors import BadRequest, IllegalTransition, NotFound
from orchestrator.model.batches import BatchRequest
from orchestrator.model.requirements import REPORT
from orchestrator.model.specs import CanarySpec, InferSpec, JobRequest
from orchestrator.model.states import FINAL, ServiceState
from orchestrator.results.triage import CrossOutcome, Decision, decide, of_repeats
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.events import record
from orchestrator.storage.tables import Job, JobInput, Slot, Triage
from orchestrator.submission.idempotency import Idempotency
from orchestrator.suites.good_runs import Judging, Reference, inputs_of_job, last_good, latest_attempt

ELSEWHERE, HERE = "elsewhere", "here"

QUEUE_SECONDS = 4 * 3600
"""A run that is not placed for so long ends, so that a triage ends: its card group may be taken out of service."""


@dataclass(frozen=True)
class CellRun:
    """One run of a cell; its outcome is None while it has not ended."""

    job_id: int
    slot_id: str | None
    kcore: str | None
    outcome: CrossOutcome | None
    right: int
    wrong: int


@dataclass(frozen=True)
class CellFacts:
    """All repeats of one cell of the cross, or why there are none."""

    name: str
    runs: Sequence[CellRun]
    absent: str | None

    @property
    def outcome(self) -> CrossOutcome:
        """One outcome for all that have ended."""
        return of_repeats([run.outcome for run in self.runs if run.outcome is not None])


@dataclass(frozen=True)
class TriageFacts:
    """A triage with its table; the decision is None while a run has not ended."""

    row: Triage
    observed: CellRun
    cells: Sequence[CellFacts]
    good_kcore: str | None
    decision: Decision | None


class Triages:
    """Starts triages and reads them."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._settings = settings
        self._database = database
        self._batches = BatchSubmission(settings, database, store)

    def start(self, job_id: int, *, repeats: int, by: str, idempotency: Idempotency | None = None) -> tuple[int, bool]:
        """Submit the cross of a job; returns the number of the triage, and whether an earlier request made it.

        NotFound, BadRequest or IllegalTransition if there is nothing to tell: see `_Asked`."""
        with self._database.read() as session:
            asked = _Asked(session, job_id, alive_since=self._database.now(session) - self._settings.lease)
            batch = asked.batch(repeats)
        made = self._batches.submit(batch, idempotency, by=by)
        assert made.batch is not None
        with self._database.write() as session:
            known = session.scalar(select(Triage.id).where(Triage.batch_id == made.batch))
            if known is not None:
                return known, True
            now = self._database.now(session)
            good = asked.good.job_id if asked.good else None
            row = Triage(
                job_id=job_id, batch_id=made.batch, slot_id=asked.slot_id, repeats=repeats, good_job_id=good,
                absent=dict(asked.absent), created_by=by, created_at=now,
            )  # fmt: skip
            session.add(row)
            session.flush()
            record(session, "triage.created", now, job_id=job_id, triage=row.id, batch=made.batch, by=by)
            return row.id, False


def show(session: Session, triage_id: int) -> TriageFacts:
    """A triage with its runs, and the verdict once all have ended; NotFound if there is none."""
    row = session.get(Triage, triage_id)
    if row is None:
        raise NotFound(f"there is no triage {triage_id}", triage=triage_id)
    good = session.get(Job, row.good_job_id) if row.good_job_id else None
    judging = Judging(session, Reference.of(session, good.id) if good else None)
    runs = session.scalars(select(Job).where(Job.batch_id == row.batch_id).order_by(Job.id)).all()
    cells = [_cell(session, judging, name, runs, row.absent.get(name)) for name in (ELSEWHERE, HERE)]
    observed = _run(session, judging, session.get_one(Job, row.job_id))
    decision = None
    if observed.outcome is not None and all(run.outcome is not None for cell in cells for run in cell.runs):
        healed = _healed(session, judging, row.job_id, [run.job_id for run in cells[0].runs])
        decision = decide(observed.outcome, *(cell.outcome for cell in cells), healed=healed)
    return TriageFacts(row, observed, cells, inputs_of_job(session, good.id).get("kcore") if good else None, decision)


def _healed(session: Session, judging: Judging, asked: int, elsewhere: Sequence[int]) -> int:
    """How many prompts the job has answered wrong, and every run on another card group right."""
    wrong = {prompt for prompt, right in judging.by_prompt(session.get_one(Job, asked)).items() if not right}
    for number in elsewhere:
        answered = judging.by_prompt(session.get_one(Job, number))
        wrong = {prompt for prompt in wrong if answered.get(prompt)}
    return len(wrong) if elsewhere else 0


def of_job(session: Session, job_id: int) -> list[int]:
    """The triages about a job, newest first."""
    return list(session.scalars(select(Triage.id).where(Triage.job_id == job_id).order_by(Triage.id.desc())))


class _Asked:
    """What is asked for, checked: the job ran with a kernel image, has ended, and its outcome is bad.

    The answers are wrong by its reference, or, without one, by those of the last good kernel image."""

    def __init__(self, session: Session, job_id: int, *, alive_since: datetime) -> None:
        self._session = session
        self.job = _triable(session, job_id)
        attempt = latest_attempt(session, job_id)
        if attempt is None:
            raise BadRequest(f"job {job_id} never started, so no card group can be to blame", field="job")
        self.slot_id = attempt.slot_id
        self.inputs = inputs_of_job(session, job_id)
        self.good = last_good(session, self.job, self.inputs)
        judged = Judging(session, Reference.of(session, self.good.job_id) if self.good else None)
        if judged.doubt(attempt.id) is not None:
            raise IllegalTransition(
                f"the results of job {job_id} are in doubt ({judged.doubt(attempt.id)}): its cards are already found "
                "bad; submit it again on other cards",
                job=job_id,
            )
        self._refuse_nothing_wrong(judged)
        self.absent: dict[str, str] = self._absent(alive_since)
        if len(self.absent) == 2:
            raise BadRequest(f"nothing can be run: {'; '.join(self.absent.values())}", field="job")

    def batch(self, repeats: int) -> BatchRequest:
        """The runs, as ordinary jobs."""
        asked = [name for name in (ELSEWHERE, HERE) if name not in self.absent]
        jobs = [self._request(name, number) for name in asked for number in range(1, repeats + 1)]
        return BatchRequest(name=f"triage-{self.job.id}", project=self.job.project, jobs=tuple(jobs))

    def _refuse_nothing_wrong(self, judged: Judging) -> None:
        outcome, right, _ = judged.outcome(self.job)
        if outcome is CrossOutcome.UNFINISHED:
            raise BadRequest(f"job {self.job.id} is {self.job.state} without a result: nothing to tell", field="job")
        if outcome is CrossOutcome.RIGHT and right:
            raise BadRequest(f"all {right} answers of job {self.job.id} are right: nothing to tell", field="job")
        if outcome is CrossOutcome.RIGHT:
            raise BadRequest(
                f"nothing says whether the answers of job {self.job.id} are wrong: it has no golden, and no other "
                "kernel image of this model is known to be good with these prompts",
                field="job",
            )

    def _absent(self, alive_since: datetime) -> dict[str, str]:
        found = {}
        slots = self._session.scalars(select(Slot).where(Slot.kind == self.job.slot_kind).order_by(Slot.id)).all()
        serving = {
            slot.id for slot in slots
            if slot.service_state is ServiceState.IN_SERVICE and (slot.heartbeat_at or alive_since) > alive_since
        }  # fmt: skip
        if not serving - {self.slot_id}:
            found[ELSEWHERE] = "no other card group is in service"
        if self.good is None:
            found[HERE] = "no other kernel image of this model is known to be good with these prompts"
        elif self.slot_id not in serving:
            found[HERE] = f"{self.slot_id} is not in service"
        return found

    def _request(self, cell: str, number: int) -> JobRequest:
        """The job again on another card group, or the good one here; every input by its digest."""
        source = self.job if cell == ELSEWHERE or self.good is None else self._session.get_one(Job, self.good.job_id)
        inputs = self.inputs if source is self.job else inputs_of_job(self._session, source.id)
        before = JobRequest.model_validate(source.request)
        place: dict[str, Any] = {"slot": self.slot_id}
        if cell == ELSEWHERE:
            told = before.placement.model_dump(mode="json", exclude={"slot"})
            place = {**told, "exclude": sorted({*told["exclude"], self.slot_id})}
        limits = before.limits.model_dump(exclude_none=True, exclude={"queue_seconds", "total_seconds"})
        return JobRequest.model_validate(
            {
                "name": f"triage-{self.job.id}-{cell}-{number}", "spec": _spec(before, inputs),
                "project": self.job.project, "release": source.release, "priority": before.priority,
                "placement": place, "limits": {**limits, "queue_seconds": QUEUE_SECONDS},
            }
        )  # fmt: skip


def _triable(session: Session, job_id: int) -> Job:
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}", job=job_id)
    if job.kind not in ("infer", "canary"):
        told = "has no kernel image" if job.kind not in ("serve", "client") else "gives no answers that can be repeated"
        raise BadRequest(f"job {job_id} is of kind {job.kind}, which {told}: triage an infer job", field="job")
    if job.state not in FINAL:
        raise IllegalTransition(f"job {job_id} is {job.state}: triage it when it has ended", job=job_id)
    if job.spec.get("groups", 1) > 1:
        raise BadRequest(
            f"job {job_id} ran on {job.spec['groups']} card groups at once: run it on one, and triage that", field="job"
        )
    if job.spec.get("cards") == "0":
        raise BadRequest(f"job {job_id} ran on the single card 0, which no other card group can run", field="job")
    return job


def _spec(before: JobRequest, inputs: Mapping[str, str]) -> dict[str, Any]:
    spec = before.spec.inference() if isinstance(before.spec, CanarySpec) else before.spec
    assert isinstance(spec, InferSpec)
    told = spec.model_dump(mode="json", exclude_none=True, exclude={"cards", "groups"})
    # The triage judges the answers itself.
    return {**told, "require": REPORT, **{name: {"digest": digest} for name, digest in inputs.items() if name in told}}


def _cell(session: Session, judging: Judging, name: str, runs: Sequence[Job], absent: str | None) -> CellFacts:
    mine = [_run(session, judging, job) for job in runs if job.name.rsplit("-", 2)[1] == name]
    return CellFacts(name, mine, absent)


def _run(session: Session, judging: Judging, job: Job) -> CellRun:
    attempt = latest_attempt(session, job.id)
    kcore = session.scalar(select(JobInput.digest).where(JobInput.job_id == job.id, JobInput.name == "kcore"))
    outcome, right, wrong = judging.outcome(job) if job.state in FINAL else (None, 0, 0)
    return CellRun(job.id, attempt.slot_id if attempt else None, kcore, outcome, right, wrong)
