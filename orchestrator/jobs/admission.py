"""Where a waiting job goes: into the queue, directly to success from the cache, or it keeps waiting.

Called when jobs are submitted and whenever something they wait for may have ended. Jobs that only have to be queued are
queued together (`bulk.queue_ready`); jobs for which the cache or a failure matters go through `admit`, one by one.
"""

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any

from pydantic import ValidationError
from sqlalchemy import Integer, Row, Select, Update, bindparam, exists, select, update
from sqlalchemy.orm import Session

from orchestrator.jobs import bulk, lifecycle
from orchestrator.jobs import needs as needing
from orchestrator.model.cache_keys import CacheParts, cache_parts, digest_of, nearest, why_missed
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.specs import BUILD_KINDS, JobRequest
from orchestrator.model.states import FINAL, IN_FLIGHT, AttemptState, JobState, Until
from orchestrator.storage import events
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.tables import Artifact, Attempt, Base, Job

EARLIER_BUILDS = 50
"""Number of earlier builds of a kind that are compared to explain why the cache was missed."""

ADMITTED_AT_ONCE = 100
"""Jobs admitted one by one in one transaction: this takes some tenths of a second."""

_NOT_ASKED = "cache missed: the request says use_cache: false"

# Built once, on plain tables: they run at every wake-up of the dispatcher and for every submitted job, and
# building them takes longer than running them.

_JOB, _INPUT, _MODEL, _RELEASE, _BATCH, _ARTIFACT = (
    Base.metadata.tables[name] for name in ("job", "job_input", "model", "release", "batch", "artifact")
)


def _admissible() -> Select[Any]:
    needed, leader = _JOB.alias(), _JOB.alias()
    pending, broken = needing.pending(_JOB, needed), needing.broken(_JOB, needed)
    joined = exists().where(leader.c.id == _JOB.c.joined_to, leader.c.state.in_(IN_FLIGHT), ~leader.c.held)
    unsealed = exists().where(_BATCH.c.id == _JOB.c.batch_id, _BATCH.c.sealed_at.is_(None))
    may_start = _JOB.c.not_before.is_(None) | (_JOB.c.not_before <= bindparam("now"))
    waiting = select(_JOB.c.id).where(
        _JOB.c.state == JobState.WAITING, broken | (~pending & ~joined), ~unsealed, may_start
    )
    return waiting.order_by(_JOB.c.id).limit(bindparam("most", type_=Integer))


_ADMISSIBLE = _admissible()
_ADMISSIBLE_OF = _ADMISSIBLE.where(_JOB.c.id.in_(bindparam("jobs", expanding=True)))
_INPUTS = select(_INPUT).where(_INPUT.c.job_id == bindparam("job_id"))


def _resolve() -> Update:
    made = _ARTIFACT.c.job_id == _INPUT.c.from_job_id, _ARTIFACT.c.name == _INPUT.c.from_artifact
    latest = select(_ARTIFACT).where(*made).order_by(_ARTIFACT.c.id.desc()).limit(1)
    return (
        update(_INPUT)
        .where(_INPUT.c.job_id.in_(bindparam("jobs", expanding=True)), _INPUT.c.digest.is_(None))
        .values(
            digest=latest.with_only_columns(_ARTIFACT.c.digest).scalar_subquery(),
            file_name=latest.with_only_columns(_ARTIFACT.c.file_name).scalar_subquery(),
        )
    )


_RESOLVE = _resolve()
"""Fills in the inputs of jobs from the outputs of the jobs that they need; inputs that do not exist yet stay
unknown."""

_NOTE_KEY = update(_JOB).where(_JOB.c.id == bindparam("job"))
_MODEL_CONTENT = select(_MODEL.c.digest, _MODEL.c.official_config).where(_MODEL.c.name == bindparam("name"))
_RELEASE_DIGEST = select(_RELEASE.c.digest).where(_RELEASE.c.name == bindparam("name"))


def admissible(session: Session, limit: int = 500, *, now: datetime) -> list[int]:
    """Waiting jobs for which everything they wait for has ended, oldest first."""
    return list(session.scalars(_ADMISSIBLE, {"most": limit, "now": now}))


def admit_new(session: Session, store: ArtifactStore, job_ids: Sequence[int], *, now: datetime) -> None:
    """Admit jobs that were just written. If there are very many builds, some are left to the next turn, as in
    `promote`."""
    queued = bulk.queue_ready(session, bulk.JOB.c.id.in_(job_ids), now=now)
    rest = sorted(set(job_ids).difference(queued))
    if rest:
        asked = {"jobs": rest, "most": ADMITTED_AT_ONCE, "now": now}
        _admit_while(session, store, lambda: session.scalars(_ADMISSIBLE_OF, asked).all(), now)


def promote(session: Session, store: ArtifactStore, *, now: datetime) -> None:
    """Admit waiting jobs until none can move (one that succeeds from the cache may free the next), or the limit is
    reached.

    The rest follows in the next turn, which the commit of this one starts: on SQLite no other process can write
    meanwhile.

    Before that, queued clients whose server is no longer ready return to waiting: they must not be placed before it is
    ready.
    """
    for job_id, server in needing.unready(session).items():
        why = f"the server of job {server} is no longer ready; the job waits until it is"
        lifecycle.move(session, job_id, start=JobState.QUEUED, to=JobState.WAITING, now=now, why=why)
    _admit_while(session, store, lambda: admissible(session, ADMITTED_AT_ONCE, now=now), now)


def _admit_while(session: Session, store: ArtifactStore, ready: Callable[[], Sequence[int]], now: datetime) -> None:
    seen: set[int] = set()
    while len(seen) < ADMITTED_AT_ONCE:
        fresh = [job_id for job_id in ready() if job_id not in seen]
        if not fresh:
            return
        session.execute(_RESOLVE, {"jobs": fresh})
        queued = set(bulk.queue_ready(session, bulk.JOB.c.id.in_(fresh), now=now))
        for job_id in fresh:
            if job_id not in queued:
                _admit_or_fail(session, job_id, store, now)
        seen.update(fresh)


def _admit_or_fail(session: Session, job_id: int, store: ArtifactStore, now: datetime) -> None:
    """Admit one job; a stored request that this version can no longer read must not block all others."""
    try:
        admit(session, job_id, store, now=now)
    except ValidationError as trouble:
        reason = f"its stored request is no longer valid: {trouble.errors()[0]['msg']}; submit it again"
        failure = Failure(kind=FailureKind.BAD_SPEC, reason=reason)
        lifecycle.fail_unstarted(session, job_id, start=JobState.WAITING, failure=failure, now=now)


def admit(session: Session, job_id: int, store: ArtifactStore, *, now: datetime) -> None:
    """Move a waiting job as far as it can go now. Does nothing if it still has to wait, or is not waiting."""
    job = session.get(Job, job_id, populate_existing=True)
    if job is None or job.state is not JobState.WAITING:
        return
    needs = needing.of_job(session, job.id)
    broken = [need for need in needs if need.state in FINAL and not need.met]
    if broken:
        _skip(session, job, broken[0], now)
    elif all(need.met for need in needs):
        session.execute(_RESOLVE, {"jobs": [job.id]})
        missing = next((entry for entry in session.execute(_INPUTS, {"job_id": job.id}) if entry.digest is None), None)
        if missing is not None:
            gone = f"its {missing.from_artifact} no longer exists"
            reason = f"job {missing.from_job_id} has succeeded, but {gone}"
            failure = Failure(kind=FailureKind.OUTPUT_MISSING, reason=reason)
            lifecycle.fail_unstarted(session, job.id, start=JobState.WAITING, failure=failure, now=now)
        else:
            _enter(session, job, store, now)


def _enter(session: Session, job: Job, store: ArtifactStore, now: datetime) -> None:
    request = JobRequest.model_validate(job.request)
    parts = _parts(session, job, request)
    if parts is None:
        lifecycle.queue(session, job, start=JobState.WAITING, now=now)
        return
    key = digest_of(parts)
    session.execute(_NOTE_KEY, {"job": job.id, "cache_parts": parts, "cache_key": key})
    if request.use_cache and (source := _cached(session, job, key, store)) is not None:
        _succeed_from(session, job, source, now)
    elif request.use_cache and (leader := _in_flight(session, job, key)) is not None:
        if job.joined_to != leader:
            session.execute(update(Job).where(Job.id == job.id).values(joined_to=leader, version=Job.version + 1))
            events.record(session, "job.joined", now, job_id=job.id, leader=leader)
    else:
        about = _why_missed(session, job, parts) if request.use_cache else {"why": _NOT_ASKED}
        lifecycle.queue(session, job, start=JobState.WAITING, now=now, joined_to=None, **about)


def _skip(session: Session, job: Job, broken: Row[Any], now: datetime) -> None:
    how = "has " if broken.state == JobState.SUCCEEDED else "" if broken.state == JobState.FAILED else "was "
    what = "the endpoint of job" if broken.until is Until.READY else "job"
    reason = f"it needs {what} {broken.id} ({broken.name}), which {how}{broken.state}"
    if job.started_at is not None:
        gone = Failure(kind=FailureKind.SERVER_GONE, reason=f"it had to start again, but {reason}")
        lifecycle.fail_unstarted(session, job.id, start=JobState.WAITING, failure=gone, now=now)
        return
    failure = Failure(kind=FailureKind.CANCELLED, reason=reason)
    lifecycle.move(
        session, job.id, start=JobState.WAITING, to=JobState.SKIPPED, now=now, failure=failure.model_dump(mode="json")
    )


def _parts(session: Session, job: Job, request: JobRequest) -> CacheParts | None:
    if request.spec.kind not in BUILD_KINDS:
        return None
    rows = session.execute(_INPUTS, {"job_id": job.id})
    inputs = {row.name: row.digest for row in rows if row.digest is not None}
    model_name = getattr(request.spec, "model", None)
    if model_name is not None:
        model = session.execute(_MODEL_CONTENT, {"name": model_name}).one()
        inputs["model"] = digest_of({"weights": model.digest, "config": model.official_config})
    release_digest = session.execute(_RELEASE_DIGEST, {"name": job.release}).scalar_one()
    return cache_parts(request.spec, inputs, release_digest)


def _cached(session: Session, job: Job, key: str, store: ArtifactStore) -> Job | None:
    """The latest identical build whose outputs are all still in the store."""
    same = select(Job).where(
        Job.cache_key == key, Job.state == JobState.SUCCEEDED, Job.cached_from.is_(None), Job.id != job.id
    )
    for source in session.scalars(same.order_by(Job.id.desc()).limit(5)):
        outputs = _outputs(session, source.id)
        if outputs and all(store.exists(artifact.digest) for artifact in outputs):
            return source
    return None


def _outputs(session: Session, job_id: int) -> list[Artifact]:
    """What the attempt that succeeded has built; logs are not included, since they belong to that attempt and may be
    pruned earlier."""
    built = select(Artifact).join(Attempt, Attempt.id == Artifact.attempt_id)
    outputs = session.scalars(built.where(Artifact.job_id == job_id, Attempt.state == AttemptState.SUCCEEDED))
    return [output for output in outputs if output.name != "log" and not output.name.startswith("vendor_log")]


def _succeed_from(session: Session, job: Job, source: Job, now: datetime) -> None:
    if not lifecycle.move(
        session, job.id, start=JobState.WAITING, to=JobState.SUCCEEDED, now=now, cached_from=source.id, joined_to=None,
        why=f"identical to job {source.id}",
    ):  # fmt: skip
        return
    for output in _outputs(session, source.id):
        session.add(
            Artifact(
                digest=output.digest, tree=output.tree, name=output.name, file_name=output.file_name,
                size=output.size, job_id=job.id, created_at=now,
            )
        )  # fmt: skip
    session.flush()


def _in_flight(session: Session, job: Job, key: str) -> int | None:
    # Not a held one: the hold is meant for that one job, not for all jobs that would have joined it.
    same = select(Job.id).where(Job.cache_key == key, Job.state.in_(IN_FLIGHT), ~Job.held, Job.id != job.id)
    return session.scalar(same.order_by(Job.id).limit(1))


def _why_missed(session: Session, job: Job, parts: CacheParts) -> dict[str, Any]:
    """The details of the event: why, and the `nearest` earlier build, which `orchestrator.jobs.history` compares."""
    earlier = (
        select(Job.id, Job.cache_parts)
        .where(Job.kind == job.kind, Job.state == JobState.SUCCEEDED, Job.cached_from.is_(None), Job.id != job.id)
        .order_by(Job.id.desc())
        .limit(EARLIER_BUILDS)
    )
    builds = {number: found for number, found in session.execute(earlier) if found is not None}
    like = nearest(parts, builds)
    reasons = why_missed(parts, None if like is None else builds[like]) or ["the stored result is gone"]
    return {"why": f"cache missed: {'; '.join(reasons)}", "nearest": like}
