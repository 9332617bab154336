"""Rows with everything filled in but the facts that a test is about."""

from datetime import UTC, datetime
from itertools import count
from typing import Any

from sqlalchemy.orm import Session

from orchestrator.catalog.profile_files import load_profile
from orchestrator.model.demand import Demand
from orchestrator.model.slots import SlotName
from orchestrator.model.specs import JobRequest, slot_kind
from orchestrator.model.states import AttemptState, JobState
from orchestrator.settings import Settings
from orchestrator.storage.tables import Artifact, Attempt, Event, Job, Model, Release, Slot

A_MOMENT = datetime(2026, 3, 1, 12, 0, 0, tzinfo=UTC)
A_DIGEST = "sha256:" + "a" * 64
PROFILE_NAME = "txnn_1.2.1_build0307"
PROFILE = load_profile(Settings(), PROFILE_NAME)

_numbers = count(1)


def a_release(session: Session, name: str = "r1", **facts: Any) -> Release:
    """That release; made once."""
    known = session.get(Release, name)
    return known or _added(
        session,
        Release(
            **{
                "name": name,
                "profile": PROFILE.model_dump(mode="json"),
                "root": "/opt/tools",
                "digest": A_DIGEST,
                "is_default": True,
                "created_at": A_MOMENT,
                **facts,
            }
        ),
    )


def a_model(session: Session, name: str = "qwen", **facts: Any) -> Model:
    return _added(
        session,
        Model(
            **{
                "name": name,
                "path": f"/models/{name}",
                "family": "qwen2",
                "official_config": {"model_type": "qwen2"},
                "tx81_config": {"model_type": "qwen2", "param_dir": "kcore"},
                "digest": A_DIGEST,
                "size": 1000,
                "created_at": A_MOMENT,
                **facts,
            }
        ),
    )


def a_slot_row(session: Session, slot_id: str = "lab1.g0", **facts: Any) -> Slot:
    """That slot; made once."""
    host, _, name = slot_id.rpartition(".")
    known = session.get(Slot, slot_id)
    return known or _added(session, Slot(id=slot_id, host=host, name=name, kind=SlotName.parse(name).kind, **facts))


def a_job_row(session: Session, **facts: Any) -> Job:
    """A queued job that quantises `some-model`; `request` may hold another one, as a document."""
    document = {"spec": {"kind": "quantize", "model": "some-model"}, **facts.pop("request", {})}
    request = JobRequest.model_validate(document)
    spec = request.spec
    pins = () if request.placement.slot is None else (request.placement.slot,)
    return _added(
        session,
        Job(
            **{
                "name": request.name or f"job{next(_numbers)}",
                "kind": spec.kind,
                "project": request.project,
                "spec": spec.model_dump(mode="json"),
                "request": request.model_dump(mode="json"),
                "release": a_release(session).name,
                "slot_kind": slot_kind(spec),
                "demand": Demand(slot_kind(spec), pins, frozenset(request.placement.exclude)).key(),
                "priority": request.priority,
                "state": JobState.QUEUED,
                "run_seconds": 3600,
                "silence_seconds": 600,
                "log_bytes": 1 << 30,
                "tool_retries": request.tool_retries,
                "created_at": A_MOMENT,
                "queued_at": A_MOMENT,
                **facts,
            }
        ),
    )


def an_attempt(session: Session, job: Job, **facts: Any) -> Attempt:
    """A running attempt at `job` on `lab1.g0`, the job's first unless `number` says otherwise; without a lease."""
    slot = a_slot_row(session, facts.pop("slot_id", "lab1.g0"))
    return _added(
        session,
        Attempt(
            **{
                "job_id": job.id,
                "number": 1,
                "slot_id": slot.id,
                "slot_ids": [slot.id],
                "state": AttemptState.RUNNING,
                "worker": "worker-1",
                "assigned_at": A_MOMENT,
                "started_at": A_MOMENT,
                "log_bytes": 0,
                **facts,
            }
        ),
    )


def an_artifact(session: Session, **facts: Any) -> Artifact:
    return _added(
        session,
        Artifact(
            **{
                "digest": A_DIGEST,
                "tree": False,
                "name": "answers",
                "file_name": "answers.jsonl",
                "size": 10,
                "created_at": A_MOMENT,
                **facts,
            }
        ),
    )


def an_event(session: Session, job: Job | None = None, **facts: Any) -> Event:
    return _added(
        session,
        Event(**{"at": A_MOMENT, "kind": "job.queued", "job_id": job.id if job else None, "data": {}, **facts}),
    )


def _added(session: Session, row: Any) -> Any:
    session.add(row)
    session.flush()
    return row
