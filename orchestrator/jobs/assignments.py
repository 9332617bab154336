"""Everything about one attempt that is in SQL, claimed and read in one transaction."""

import math
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from orchestrator.jobs import lifecycle, line, used_endpoints
from orchestrator.jobs.ownership import Owner
from orchestrator.model.assignments import Assignment, InputArtifact, RegisteredModel
from orchestrator.storage.database import Database, run
from orchestrator.storage.tables import Base

# On plain tables, and built once: mapped objects take several times as long, and the vendor's tool cannot start before.
_TABLES = Base.metadata.tables
_ATTEMPT, _JOB, _RELEASE, _MODEL, _INPUT = (
    _TABLES[name].c for name in ("attempt", "job", "release", "model", "job_input")
)
_ASSIGNMENT = (
    select(
        _ATTEMPT.number, _ATTEMPT.slot_ids, _JOB.id, _JOB.name, _JOB.spec, _JOB.run_seconds, _JOB.silence_seconds,
        _JOB.log_bytes, _JOB.deadline_at, _RELEASE.profile, _RELEASE.root, _RELEASE.name.label("release"),
        _RELEASE.digest,
    )
    .join_from(_TABLES["attempt"], _TABLES["job"], _JOB.id == _ATTEMPT.job_id)
    .outerjoin(_TABLES["release"], _RELEASE.name == _JOB.release)
    .where(_ATTEMPT.id == bindparam("attempt_id"))
)  # fmt: skip
_MODEL_OF = select(
    _MODEL.name,
    _MODEL.path,
    _MODEL.official_config,
    _MODEL.tx81_config,
    _MODEL.digest,
    _MODEL.stamp,
    _MODEL.created_at,
).where(_MODEL.name == bindparam("name"))
_INPUTS = select(_INPUT.name, _INPUT.digest, _INPUT.file_name).where(_INPUT.job_id == bindparam("job_id"))


def claim(database: Database, attempt_id: int, *, owner: Owner, lease: timedelta) -> Assignment | None:
    """Take the attempt and read what it needs; None if it cannot be claimed (late, duplicated or misrouted doorbell, or
    cancelled)."""
    with database.write() as session:
        now = database.now(session)
        if not lifecycle.claim(session, attempt_id, owner=owner, now=now, lease=lease):
            return None
        return _read(session, attempt_id, now)


def take_next(session: Session, ended: int, *, owner: Owner, now: datetime, lease: timedelta) -> Assignment | None:
    """Take the next job in line for the slot of an attempt that ended in this transaction, and read what it needs."""
    attempt_id = line.take(session, ended, owner=owner, now=now, lease=lease)
    return None if attempt_id is None else _read(session, attempt_id, now)


def _read(session: Session, attempt_id: int, now: datetime) -> Assignment:
    row = run(session, _ASSIGNMENT, attempt_id=attempt_id).one()
    model = run(session, _MODEL_OF, name=row.spec["model"]).one_or_none() if "model" in row.spec else None
    inputs = run(session, _INPUTS, job_id=row.id)
    endpoints = used_endpoints.of_job(session, row.id) if row.spec.get("kind") == "client" else ()
    used_endpoints.note_use(session, [used.attempt_id for used in endpoints], now)
    return Assignment(
        attempt_id=attempt_id,
        number=row.number,
        job_id=row.id,
        job_name=row.name,
        slot_ids=tuple(row.slot_ids),
        spec=row.spec,
        profile=row.profile or {},
        release=row.release or "",
        release_digest=row.digest or "",
        root=row.root or "",
        model=None if model is None else RegisteredModel(**model._mapping),
        inputs=tuple(InputArtifact(one.name, one.digest, one.file_name or one.name) for one in inputs),
        run_seconds=row.run_seconds,
        silence_seconds=row.silence_seconds,
        log_bytes=row.log_bytes,
        seconds_left=math.inf if row.deadline_at is None else (row.deadline_at - now).total_seconds(),
        endpoints=endpoints,
    )
