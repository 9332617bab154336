"""Canaries: registered once for a release, run on quarantined slots, and how their ends change the slots.

A canary is an ordinary job of kind `canary`, pinned to one slot; only such a job is placed on a quarantined slot. The
dispatcher starts them (`tend`); a person may start one at any time, on a slot in service as well.
"""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import select, text
from sqlalchemy.orm import Session

from orchestrator.clock import as_utc
from orchestrator.errors import BadSpec, NotFound, OrchestratorError
from orchestrator.model.canaries import CanaryRun, LeaveQuarantined, Restore, Start, Wait, decide
from orchestrator.model.demand import Demand
from orchestrator.model.failures import Failure
from orchestrator.model.slots import SlotKind
from orchestrator.model.specs import CanarySpec, JobRequest, Limits, PlacementRequest
from orchestrator.model.states import ServiceState
from orchestrator.settings import Settings
from orchestrator.slots import service
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Artifact, Canary, Document, Job, Release, Slot
from orchestrator.submission import rows
from orchestrator.submission.drafts import Draft, Drafting
from orchestrator.submission.idempotency import Idempotency, Made
from orchestrator.submission.steps import Steps
from orchestrator.submission.submit import Submission

log = logging.getLogger(__name__)

PROJECT = "canary"
"""The project charged for the slot time; canaries have the highest priority."""

LIMITS = Limits(queue_seconds=600, run_seconds=1800, silence_seconds=900)
"""Run limit: a canary is short, but loading the weights of a large model is not."""

MOST_RUNS = 1000
"""Number of latest canaries of all slots that are searched for those of one slot."""

_REFUSED_PAUSE = timedelta(minutes=5)
"""Time before a canary that could not be submitted is tried again."""


@dataclass(frozen=True)
class _Patient:
    """A quarantined slot that canaries may return to service."""

    slot_id: str
    quarantined_at: datetime
    job_id: int | None
    """The job because of which it was quarantined."""


class Canaries:
    """Registers canaries, starts them, and applies their results to slots."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore, submission: Submission) -> None:
        self._settings = settings
        self._database = database
        self._steps = Steps(settings, database, store)
        self._submission = submission
        self._refused: dict[str, datetime] = {}

    def register(self, release: str, spec: CanarySpec, *, by: str) -> Canary:
        """Make this the canary of a release; it replaces an earlier one. Every input must already exist.

        NotFound without such a release; BadSpec or PathRefused names the field at fault."""
        try:
            draft, document = self._checked(release, spec)
            with self._database.write() as session:
                self._database.serialise(session, "registry")
                rows.name_files(session, [draft])
                canary = session.get(Canary, release) or Canary(release=release)
                canary.spec, canary.set_by, canary.set_at = document, by, self._database.now(session)
                session.add(canary)
                return canary
        except OrchestratorError as trouble:
            # The document is the spec itself, not a request that contains it.
            trouble.field = trouble.field and trouble.field.removeprefix("spec.")
            raise

    def _checked(self, release: str, spec: CanarySpec) -> tuple[Draft, Document]:
        """Its draft, and the spec with every input by digest."""
        # The result does not depend on the slot on which it will run.
        request = _request(spec, release, "any.g0")

        def check(session: Session, drafting: Drafting) -> tuple[Draft, Document]:
            if session.get(Release, release) is None:
                raise NotFound(f"there is no release {release}; see: tx81 releases", release=release)
            draft = drafting.draft(request)
            inputs = {wired["name"]: {"digest": _digest(session, wired)} for wired in draft.inputs}
            return draft, {**spec.model_dump(mode="json"), **inputs}

        return self._steps.look_up({"": request}, check)

    def start(self, slot_id: str, idempotency: Idempotency | None = None, *, by: str | None = None) -> Made:
        """Submit the canary that fits a slot; NotFound without such a slot, or without a canary for it."""
        with self._database.read() as session:
            slot = session.get(Slot, slot_id)
            if slot is None:
                raise NotFound(f"there is no slot {slot_id}: slots are written HOST.g3", slot=slot_id)
            if slot.kind is not SlotKind.CARD_GROUP:
                raise BadSpec(f"{slot_id} has no cards that a canary could check", field="slot")
            canary = canary_for(session, (slot.quarantined_because or {}).get("job_id"))
            if canary is None:
                raise NotFound("no canary is registered for this slot's release: tx81 canary set FILE", slot=slot_id)
            request = _request(CanarySpec.model_validate(canary.spec), canary.release, slot_id)
        return self._submission.job(request, idempotency, by=by)

    def tend(self) -> int:
        """For every quarantined slot, start its next canary or apply the results; returns how many needed this."""
        with self._database.read() as session:
            now = self._database.now(session)
            patients = _patients(session, now - self._settings.lease)
            if not patients:
                return 0
            history = runs(session)
            decisions = [
                (patient, self._decide(patient, history.get(patient.slot_id, ()), now)) for patient in patients
            ]
            startable = {patient.slot_id for patient in patients if canary_for(session, patient.job_id) is not None}
        done = 0
        for patient, decision in decisions:
            match decision:
                case Restore(job_id):
                    with self._database.admission() as (session, moment):
                        service.restore(session, patient.slot_id, job_id=job_id, now=moment)
                    done += 1
                case LeaveQuarantined(jobs, strayed):
                    with self._database.admission() as (session, moment):
                        service.give_up(session, patient.slot_id, jobs=jobs, strayed=strayed, now=moment)
                    done += 1
                case Start() if patient.slot_id in startable:
                    done += self._try_to_start(patient.slot_id, now)
        return done

    def _decide(
        self, patient: _Patient, history: Sequence[tuple[Job, CanaryRun]], now: datetime
    ) -> Restore | LeaveQuarantined | Start | Wait:
        since = [run for job, run in history if job.created_at >= patient.quarantined_at]
        return decide(
            since,
            quarantined_at=patient.quarantined_at,
            now=now,
            pauses=self._settings.canary_pauses,
            most_failures=self._settings.canary_failures,
        )

    def _try_to_start(self, slot_id: str, now: datetime) -> bool:
        if now < self._refused.get(slot_id, now):
            return False
        try:
            self.start(slot_id)
            return True
        except OrchestratorError as refused:
            # The canary itself is at fault: its model or one of its files no longer exists.
            self._refused[slot_id] = now + _REFUSED_PAUSE
            log.warning("canary of %s refused: %s", slot_id, refused.detail)
            return False


def canaries(session: Session) -> Sequence[Canary]:
    """All registered canaries, by release."""
    return session.scalars(select(Canary).order_by(Canary.release)).all()


def canary(session: Session, release: str) -> Canary:
    """The canary of a release; NotFound if there is none."""
    found = session.get(Canary, release)
    if found is None:
        raise NotFound(f"no canary is registered for release {release}: tx81 canary set FILE", release=release)
    return found


def canary_for(session: Session, job_id: int | None) -> Canary | None:
    """The canary of the release whose job a slot failed with, else of the default release; None without either."""
    failed = None if job_id is None else session.scalar(select(Job.release).where(Job.id == job_id))
    default = session.scalar(select(Release.name).where(Release.is_default))
    found = (session.get(Canary, release) for release in (failed, default) if release is not None)
    return next((canary for canary in found if canary is not None), None)


def runs(session: Session) -> dict[str, list[tuple[Job, CanaryRun]]]:
    """The latest canaries of every slot, oldest first."""
    # As text, because a partial index is only used for the exact text of its condition.
    latest = select(Job).where(text("job.kind = 'canary'")).order_by(Job.id.desc()).limit(MOST_RUNS)
    found: dict[str, list[tuple[Job, CanaryRun]]] = {}
    for job in reversed(session.scalars(latest).all()):
        failure = None if job.failure is None else Failure.model_validate(job.failure).kind
        run = CanaryRun(job.id, job.state, failure, job.ended_at)
        found.setdefault(Demand.parse(job.demand).only[0], []).append((job, run))
    return found


def _patients(session: Session, alive_since: datetime) -> list[_Patient]:
    """Slots with cards and a live worker that no person has quarantined, and that no person is resuming now."""
    sick = select(Slot).where(
        Slot.service_state == ServiceState.QUARANTINED,
        Slot.kind == SlotKind.CARD_GROUP,
        Slot.heartbeat_at > alive_since,
        Slot.resume_requested.is_(None),
    )
    return [
        _Patient(slot.id, as_utc(datetime.fromisoformat(because["at"])), because.get("job_id"))
        for slot in session.scalars(sick.order_by(Slot.id))
        if (because := slot.quarantined_because or {}).get("at") and because.get("by") is None
    ]


def _request(spec: CanarySpec, release: str, slot_id: str) -> JobRequest:
    return JobRequest(
        spec=spec,
        name=f"canary-{slot_id}",
        project=PROJECT,
        release=release,
        priority=9,
        placement=PlacementRequest(slot=slot_id, wait_for_slot=True),
        limits=LIMITS,
    )


def _digest(session: Session, wired: Document) -> str:
    """The digest of an input that is stored, or that its source job has made."""
    made = select(Artifact.digest).where(
        Artifact.job_id == wired.get("from_job_id"), Artifact.name == wired.get("from_artifact")
    )
    digest = wired.get("digest") or session.scalar(made.order_by(Artifact.id.desc()).limit(1))
    if digest is None:
        source = f"job {wired['from_job_id']} has not made its {wired['from_artifact']} yet"
        raise BadSpec(f"{source}; wait for it", field=f"spec.{wired['name']}")
    return str(digest)
