"""From a batch request to its jobs, written in portions while the batch is open.

Ten thousand rows would take seconds in one transaction, during which SQLite blocks all other writers. So everything is
checked first; then the batch is opened, its jobs are written in portions, and it is sealed. No job of an open batch is
admitted, so none starts before all are written. A writer that dies in between leaves an open batch, which the
dispatcher abandons (`orchestrator.batches.lifecycle`); a writer that was only slow gets an error at its next portion.
"""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.orm import Session

from orchestrator.batches import lifecycle
from orchestrator.errors import BadSpec, IllegalTransition
from orchestrator.jobs import bulk
from orchestrator.model.batches import BatchRequest, requests_of
from orchestrator.model.demand import Demand, free_slot
from orchestrator.model.lacks import NAMED
from orchestrator.model.slots import SlotName
from orchestrator.model.states import ServiceState
from orchestrator.settings import Settings
from orchestrator.storage import events
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Batch, Slot
from orchestrator.submission import rows
from orchestrator.submission.drafts import Draft, Drafting, within
from orchestrator.submission.idempotency import Idempotency, Made
from orchestrator.submission.steps import Steps

PORTION = 250
"""Jobs written in one transaction: this takes some hundredths of a second."""


@dataclass(frozen=True)
class _Checked:
    """All that is known of a batch before a row is written."""

    jobs: Sequence[Draft]
    left_out: Mapping[str, str]


class BatchSubmission:
    """Turns batch requests into jobs."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._settings = settings
        self._database = database
        self._steps = Steps(settings, database, store)

    def submit(self, request: BatchRequest, idempotency: Idempotency | None = None, *, by: str | None = None) -> Made:
        """Submit all jobs or none; BadSpec names the field of the first that cannot be submitted.

        A repeated key returns the same batch at once, even while it is still being written. `by` is the name of the
        token that asks.
        """
        if (made := self._steps.made_before(idempotency)) is not None:
            return made
        checked = self._checked(request)
        made = self._steps.write(idempotency, partial(self._open, request, by, checked))
        if made.replayed or made.batch is None:
            return made
        try:
            for start in range(0, len(checked.jobs), PORTION):
                self._fill(made.batch, request.project, by, checked.jobs[start : start + PORTION])
            self._seal(made.batch)
        except BaseException:
            with suppress(SQLAlchemyError):
                lifecycle.give_up(self._database, made.batch)
            raise
        return made

    # ── before a row is written ───────────────────────────────────────────────────────────────────────────────────────

    def _checked(self, request: BatchRequest) -> _Checked:
        # The files of the template do not depend on the slots on which it will run.
        asked = {"template": request.template} if request.template is not None else dict(requests_of(request, ()))

        def check(session: Session, drafting: Drafting) -> _Checked:
            serving, left_out = self._slots(session, request, drafting)
            return _Checked([drafting.draft(job, place) for place, job in requests_of(request, serving)], left_out)

        return self._steps.look_up(asked, check)

    def _slots(self, session: Session, request: BatchRequest, drafting: Drafting) -> tuple[list[str], dict[str, str]]:
        """The slots that `all` stands for, and why the other slots of the kind are not included."""
        if request.template is None or request.slots is not None:
            return [], {}
        with within("template"):
            wanted = drafting.demand(request.template)
        alive_since = self._database.now(session) - self._settings.lease
        serving, left_out = [], {}
        for slot in session.scalars(select(Slot).where(Slot.kind == wanted.kind)):
            why = _why_not(slot, wanted, alive_since)
            if why is None:
                serving.append(slot)
            else:
                left_out[slot.id] = why
        if not serving:
            others = "; ".join(f"{slot} {why}" for slot, why in sorted(left_out.items())) or "none is registered"
            raise BadSpec(
                f"no slot of this kind is in service ({others}); name the slots to wait for them", field="slots"
            )
        return [slot.id for slot in sorted(serving, key=_in_order)], dict(sorted(left_out.items()))

    # ── the rows ──────────────────────────────────────────────────────────────────────────────────────────────────────

    def _open(self, request: BatchRequest, by: str | None, checked: _Checked, session: Session, now: datetime) -> Made:
        batch = Batch(
            name=request.name, project=request.project, submitted_by=by, stop_on=request.stop_on,
            size=len(checked.jobs), left_out=dict(checked.left_out), created_at=now, touched_at=now,
        )  # fmt: skip
        session.add(batch)
        session.flush()
        events.record(session, "batch.created", now, batch=batch.id, name=batch.name, size=batch.size, by=by)
        return Made((), batch=batch.id)

    def _fill(self, batch_id: int, project: str, by: str | None, jobs: Sequence[Draft]) -> None:
        with self._database.admission() as (session, now):
            _still_open(session, batch_id, touched_at=now)
            rows.write(session, jobs, now=now, by=by, project=project, batch_id=batch_id)

    def _seal(self, batch_id: int) -> None:
        with self._database.admission() as (session, now):
            _still_open(session, batch_id, sealed_at=now)
            bulk.queue_ready(session, bulk.JOB.c.batch_id == batch_id, now=now)


def _still_open(session: Session, batch_id: int, **change: Any) -> None:
    mine = update(Batch).where(Batch.id == batch_id, Batch.sealed_at.is_(None), Batch.ended_at.is_(None))
    if cast("CursorResult[Any]", session.execute(mine.values(**change))).rowcount == 0:
        raise IllegalTransition(f"batch {batch_id} was abandoned because writing it took too long; submit it again")


def _why_not(slot: Slot, wanted: Demand, alive_since: datetime) -> str | None:
    seen = free_slot(slot.id, slot.name, slot.labels, slot.kcore, lacks=slot.lacks)
    if missing := wanted.missing(seen):
        return f"lacks {NAMED.get(missing[0], f'release {missing[0]}')}"
    if not wanted.admits(seen):
        return "is not among those that the template allows"
    if slot.service_state is not ServiceState.IN_SERVICE:
        return f"is {slot.service_state}"
    if slot.heartbeat_at is None or slot.heartbeat_at <= alive_since:
        return "has no live worker"
    return None


def _in_order(slot: Slot) -> tuple[str, int]:
    return slot.host, SlotName.parse(slot.name).index
