"""One turn: advance batches, promote waiting jobs whose needs are met, place queued ones, say which come next, commit.

The caller sends the doorbells after the commit.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from sqlalchemy import bindparam, select, update
from sqlalchemy.orm import Session

from orchestrator.batches import lifecycle
from orchestrator.broker import Bell
from orchestrator.dispatcher.leader import Leadership
from orchestrator.jobs import bulk
from orchestrator.jobs import line as next_jobs
from orchestrator.jobs.admission import admissible, promote
from orchestrator.model.assignments import in_one_line, task_id_of
from orchestrator.scheduling import line, plan, queue
from orchestrator.scheduling.placement.supply import Supply
from orchestrator.settings import Settings
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Base

AGING: timedelta = Settings.model_fields["aging"].default

_JOB, _ATTEMPT, _SLOT = (Base.metadata.tables[name] for name in ("job", "attempt", "slot"))

# Built once, on plain tables: they run in every turn, and building them takes longer than running them.

_BELLS = (
    select(_ATTEMPT.c.id, _ATTEMPT.c.number, _ATTEMPT.c.slot_ids, _ATTEMPT.c.job_id, _JOB.c.name, _JOB.c.kind)
    .join_from(_ATTEMPT, _JOB, _JOB.c.id == _ATTEMPT.c.job_id)
    .where(_ATTEMPT.c.id.in_(bindparam("attempts", expanding=True)))
    .order_by(_ATTEMPT.c.id)
)

_NOTE_KCORE = (
    update(_SLOT)
    .where(_SLOT.c.id == bindparam("placed_on"), _SLOT.c.kcore.is_distinct_from(bindparam("image")))
    .values(kcore=bindparam("image"))
)


def bells(session: Session, attempt_ids: Sequence[int]) -> list[Bell]:
    """The doorbells of attempts."""
    return [
        Bell(
            attempt_id=row.id,
            task_id=task_id_of(row.job_id, row.number),
            queue=row.slot_ids[0],
            description=in_one_line(row.job_id, row.name, row.kind, row.slot_ids, row.number),
        )
        for row in session.execute(_BELLS, {"attempts": attempt_ids})
    ]


def take_turn(
    database: Database, store: ArtifactStore, *, lease: timedelta, lost_after: timedelta, aging: timedelta = AGING,
    leadership: Leadership | None = None,
) -> list[Bell]:  # fmt: skip
    """Promote and place until nothing more can change; returns the doorbells to send, after the commit.

    With `leadership`, LeadLost and no change if the lead was lost meanwhile: a process may pause at any line.
    """
    with database.read() as session:
        now = database.now(session)
        slots = queue.supply(session, now, lost_after)
        idle = not admissible(session, limit=1, now=now) and not plan.movable(session, slots, aging=aging)
        idle = idle and not lifecycle.due(session) and not _line_due(session, slots)
    if idle:
        return []
    with database.admission() as (session, now):
        if leadership is not None:
            leadership.fence(session)
        lifecycle.advance(session, now=now)
        promote(session, store, now=now)
        return place_queued(session, now=now, lease=lease, lost_after=lost_after, aging=aging)


def place_queued(
    session: Session, *, now: datetime, lease: timedelta, lost_after: timedelta, aging: timedelta = AGING
) -> list[Bell]:
    """Assign queued jobs to free slots and decide which come next; returns doorbells, to be sent after the commit."""
    slots = queue.supply(session, now, lost_after)
    placed = _place_on(session, slots, lease=lease, aging=aging) if slots.free else []
    if placed or _line_due(session, slots):
        next_jobs.store(session, line.decide(session, slots, aging=aging), now=now)
    return placed


def _line_due(session: Session, slots: Supply) -> bool:
    """Whether it has to be decided anew which jobs come next on slots that are busy now."""
    if not slots.busy or not next_jobs.is_due(session, slots.now):
        return False
    return queue.placeable(queue.classes(session), replace(slots, free=[busy.slot for busy in slots.busy]))


def _place_on(session: Session, slots: Supply, *, lease: timedelta, aging: timedelta) -> list[Bell]:
    decided = plan.decide(session, queue.classes(session), slots, aging=aging)
    wanted = [bulk.Allocation(each.job_id, each.slot_ids, each.why) for each in decided.plan.placements]
    assigned = bulk.assign(session, wanted, now=slots.now, lease=lease) if wanted else []
    kcores = {candidate.job_id: candidate.kcore for candidate in decided.candidates}
    _note_kcores(session, {slot_id: kcores[each.job_id] for _, each in assigned for slot_id in each.slot_ids})
    return bells(session, [attempt_id for attempt_id, _ in assigned])


def _note_kcores(session: Session, placed: Mapping[str, str | None]) -> None:
    rows = [{"placed_on": slot_id, "image": kcore} for slot_id, kcore in sorted(placed.items()) if kcore is not None]
    if rows:
        session.execute(_NOTE_KCORE, rows)
