"""Schedules: set, paused and removed by people, fired by the leading dispatcher.

What fires a due time is one transaction: it takes the row of the firing, which exists once for a schedule and a due
time, moves the mark up to which due times were considered, and submits the run. So a due time fires once, whatever
dies or runs twice in between. A clock that was set back moves the mark back; what has fired stays fired.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, cast

from sqlalchemy import CursorResult, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from orchestrator.errors import BadRequest, IllegalTransition, NotFound, OrchestratorError
from orchestrator.model.schedules import (
    MOST_AT_ONCE,
    Due,
    FiringState,
    Missed,
    Overlap,
    ScheduleDocument,
    after,
    between,
    to_fire,
)
from orchestrator.model.suites import RunPurpose
from orchestrator.storage import events
from orchestrator.storage.artifacts import StoreFull
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Schedule, ScheduleFiring, SuiteRun
from orchestrator.suites import runs
from orchestrator.suites.definitions import suite_named
from orchestrator.suites.runs import RunOrigin, SuiteRuns

log = logging.getLogger(__name__)

NEXT_TIMES = 5

Fence = Callable[[Session], None]
"""Raises unless this process still leads; called in the transaction that fires."""


class AlreadyFired(OrchestratorError):
    """Another process has fired this due time, or someone has changed the schedule."""

    code = "already_fired"


class Scheduler:
    """Fires schedules that are due."""

    def __init__(self, database: Database, suite_runs: SuiteRuns, fence: Fence) -> None:
        self._database = database
        self._runs = suite_runs
        self._fence = fence

    def tend(self) -> int:
        """Act on every due time that has come, and start runs that waited for the run before; how many were acted
        on."""
        with self._database.read() as session:
            now = self._database.now(session)
            found = session.scalars(select(Schedule).where(~Schedule.paused).order_by(Schedule.name)).all()
            waiting = session.scalars(select(ScheduleFiring).where(_WAITING).order_by(ScheduleFiring.id)).all()
        # Those that wait were due first.
        started = sum(self._start_waiting(firing) for firing in waiting)
        return started + sum(self._consider(schedule, now) for schedule in found)

    # ── due times ─────────────────────────────────────────────────────────────────────────────────────────────────────

    def _consider(self, schedule: Schedule, now: datetime) -> int:
        if now < schedule.considered_until:
            self._move_mark(schedule, now)  # the clock was set back: what comes now is still to be considered
            return 0
        due = between(schedule.cron, schedule.zone, schedule.considered_until, now)
        chosen = to_fire(due, Missed(schedule.missed), now)
        if due and not chosen:
            log.info("schedule %s: %d due times were missed and are skipped", schedule.name, len(due))
            self._move_mark(schedule, due[-1])
        acted = 0
        for each in chosen:
            try:
                self._act(schedule, each, now)
            except AlreadyFired:
                break
            schedule.considered_until = each.at  # of the object only, which the session has let go
            acted += 1
        return acted

    def _move_mark(self, schedule: Schedule, to: datetime) -> None:
        with self._database.write() as session:
            self._fence(session)
            _moved(session, schedule, to)

    def _act(self, schedule: Schedule, due: Due, now: datetime) -> None:
        """Start the run of a due time, or note why not; AlreadyFired if another process did, or the schedule was
        changed meanwhile."""
        with self._database.read() as session:
            if _firing_of(session, schedule.name, due.at) is not None:  # the clock was set back
                return self._move_mark(schedule, due.at)
            busy = runs.unended(session, schedule.suite)
            queue = select(ScheduleFiring.id).where(_WAITING, ScheduleFiring.schedule == schedule.name)
            waiting = len(session.scalars(queue).all())
        most = MOST_AT_ONCE if schedule.missed == Missed.RUN_ALL else 1
        if busy and schedule.overlap == Overlap.QUEUE and waiting < most:
            return self._note(schedule, due, FiringState.WAITING, f"waits for the end of run {busy[0]}")
        if busy and schedule.overlap != Overlap.CANCEL_OLD:
            also = f", and {waiting} more wait for its end" if waiting else ""
            return self._note(schedule, due, FiringState.SKIPPED, f"run {busy[0]} of the suite has not ended{also}")
        try:
            return self._start(schedule, due)
        except (AlreadyFired, IntegrityError):
            raise AlreadyFired(f"{schedule.name} at {due.at}") from None
        except _REFUSALS as refused:
            return self._note(schedule, due, FiringState.REFUSED, _said(refused))

    def _start(self, schedule: Schedule, due: Due) -> None:
        def beside(session: Session, run: SuiteRun, now: datetime) -> None:
            self._take(session, schedule, due, now, FiringState.STARTED, run_id=run.id)
            if schedule.overlap == Overlap.CANCEL_OLD:
                for old in runs.unended(session, schedule.suite):
                    if old != run.id:
                        why = f"schedule {schedule.name} was due again and started run {run.id}"
                        runs.cancel(session, old, by=None, why=why, now=now)

        self._runs.start(schedule.suite, _origin(schedule, due.at), beside=beside)

    def _note(self, schedule: Schedule, due: Due, state: FiringState, why: str) -> None:
        try:
            with self._database.write() as session:
                self._take(session, schedule, due, self._database.now(session), state, why=why)
        except IntegrityError:
            raise AlreadyFired(f"{schedule.name} at {due.at}") from None

    def _take(
        self, session: Session, schedule: Schedule, due: Due, now: datetime, state: FiringState, **told: Any
    ) -> None:
        """Take the due time in this transaction; AlreadyFired or IntegrityError if another one has."""
        self._fence(session)
        if not _moved(session, schedule, due.at):
            raise AlreadyFired(f"{schedule.name} at {due.at}")
        row = {"schedule": schedule.name, "due_at": due.at, "given_up": due.given_up, **told}
        session.add(ScheduleFiring(**row, at=now, state=state))
        session.flush()
        events.record(session, f"schedule.{state}", now, **{**row, "due_at": due.at.isoformat()})

    # ── firings that wait ─────────────────────────────────────────────────────────────────────────────────────────────

    def _start_waiting(self, firing: ScheduleFiring) -> bool:
        """Start the run of a firing that waited, if no run of the suite is left; False if it still has to wait."""
        with self._database.read() as session:
            schedule = session.get(Schedule, firing.schedule)
            if schedule is not None and (schedule.paused or runs.unended(session, schedule.suite)):
                return False
        if schedule is None:
            return self._answered(firing, FiringState.REFUSED, why="the schedule was removed while it waited")

        def beside(session: Session, run: SuiteRun, now: datetime) -> None:
            self._fence(session)
            if not _answer(session, firing.id, FiringState.STARTED, now, run_id=run.id, why=None):
                raise AlreadyFired(f"{firing.schedule} at {firing.due_at}")

        try:
            self._runs.start(schedule.suite, _origin(schedule, firing.due_at), beside=beside)
            return True
        except AlreadyFired:
            return False
        except _REFUSALS as refused:
            return self._answered(firing, FiringState.REFUSED, why=_said(refused))

    def _answered(self, firing: ScheduleFiring, state: FiringState, *, why: str) -> bool:
        with self._database.write() as session:
            self._fence(session)
            return _answer(session, firing.id, state, self._database.now(session), why=why)


_WAITING = ScheduleFiring.state == FiringState.WAITING

_REFUSALS = (BadRequest, NotFound, IllegalTransition, StoreFull)
"""What says that the suite cannot be started, now or ever; the loss of the lead is none of them."""


def _origin(schedule: Schedule, due_at: datetime) -> RunOrigin:
    return RunOrigin(f"schedule {schedule.name}", schedule.name, due_at, RunPurpose(schedule.purpose))


def _said(refused: OrchestratorError) -> str:
    return f"{refused.field}: {refused.detail}" if refused.field else refused.detail


def _moved(session: Session, schedule: Schedule, to: datetime) -> bool:
    """Move the mark, unless someone has moved it or changed the schedule since it was read."""
    names = ("name", "suite", "cron", "zone", "missed", "overlap", "purpose", "paused", "considered_until")
    seen = {name: getattr(schedule, name) for name in names}
    same = [getattr(Schedule, name) == value for name, value in seen.items()]
    change = update(Schedule).where(*same).values(considered_until=to)
    return cast("CursorResult[Any]", session.execute(change)).rowcount == 1


def _answer(session: Session, firing_id: int, state: FiringState, now: datetime, **told: Any) -> bool:
    waiting = update(ScheduleFiring).where(ScheduleFiring.id == firing_id, _WAITING)
    answered = cast("CursorResult[Any]", session.execute(waiting.values(state=state, at=now, **told))).rowcount == 1
    if answered:
        events.record(session, f"schedule.{state}", now, firing=firing_id, **told)
    return answered


def _firing_of(session: Session, schedule: str, due_at: datetime) -> ScheduleFiring | None:
    found = select(ScheduleFiring).where(ScheduleFiring.schedule == schedule, ScheduleFiring.due_at == due_at)
    return session.scalars(found).first()


# ── orders of people ──────────────────────────────────────────────────────────────────────────────────────────────────


def set_schedule(session: Session, name: str, document: ScheduleDocument, *, by: str, now: datetime) -> Schedule:
    """Make or change a schedule; due times before now are not made up for. NotFound without its suite."""
    try:
        suite_named(session, document.suite)
    except NotFound as missing:
        missing.field = "suite"
        raise
    schedule = session.get(Schedule, name, with_for_update=True, populate_existing=True) or Schedule(name=name)
    for field, value in document.model_dump(mode="json").items():
        setattr(schedule, field, value)
    schedule.changed_by, schedule.changed_at, schedule.considered_until = by, now, now
    session.add(schedule)
    session.flush()
    events.record(session, "schedule.set", now, schedule=name, suite=document.suite, cron=document.cron, by=by)
    return schedule


def pause(session: Session, name: str, *, by: str, now: datetime) -> Schedule:
    """Fire it no more until `resume`; a run that has started goes on."""
    schedule = schedule_named(session, name, lock=True)
    if not schedule.paused:
        schedule.paused = True
        _changed(session, schedule, "paused", by, now)
    return schedule


def resume(session: Session, name: str, *, by: str, now: datetime) -> Schedule:
    """Fire it again from now on; due times during the pause are not made up for. NotFound if its suite was removed."""
    schedule = schedule_named(session, name, lock=True)
    suite_named(session, schedule.suite)
    if schedule.paused:
        schedule.paused, schedule.considered_until = False, now
        _changed(session, schedule, "resumed", by, now)
    return schedule


def remove(session: Session, name: str, *, by: str, now: datetime) -> None:
    """Remove a schedule; what it has started goes on, and its firings stay."""
    schedule = schedule_named(session, name, lock=True)
    session.delete(schedule)
    session.flush()
    events.record(session, "schedule.removed", now, schedule=name, by=by)


def _changed(session: Session, schedule: Schedule, what: str, by: str, now: datetime) -> None:
    schedule.changed_by, schedule.changed_at = by, now
    session.flush()
    events.record(session, f"schedule.{what}", now, schedule=schedule.name, by=by)


# ── what there is ─────────────────────────────────────────────────────────────────────────────────────────────────────


@dataclass(frozen=True)
class ScheduleFacts:
    """A schedule as it stands."""

    schedule: Schedule
    next_times: tuple[datetime, ...]
    """The next due times; none while it is paused."""
    last: ScheduleFiring | None
    last_run: SuiteRun | None
    """The latest run that it has started, by a due time or by an order."""
    problem: str | None
    """Why its next due time will be refused; None if nothing is known to be wrong."""


def schedule_named(session: Session, name: str, *, lock: bool = False) -> Schedule:
    """A schedule; NotFound without it."""
    schedule = session.get(Schedule, name, with_for_update=lock or None, populate_existing=lock)
    if schedule is None:
        raise NotFound(f"there is no schedule {name}; see: tx81 schedules list", schedule=name)
    return schedule


def schedules(session: Session, now: datetime) -> list[ScheduleFacts]:
    """All schedules by name."""
    return [_facts(session, each, now) for each in session.scalars(select(Schedule).order_by(Schedule.name))]


def schedule_facts(session: Session, name: str, now: datetime) -> ScheduleFacts:
    """A schedule as it stands; NotFound without it."""
    return _facts(session, schedule_named(session, name), now)


def firings(session: Session, name: str, *, limit: int) -> Sequence[ScheduleFiring]:
    """The latest firings of a schedule, newest first."""
    found = select(ScheduleFiring).where(ScheduleFiring.schedule == name)
    return session.scalars(found.order_by(ScheduleFiring.due_at.desc()).limit(limit)).all()


def names_of_suite(session: Session, suite: str) -> Sequence[str]:
    """The schedules that run a suite, by name."""
    return session.scalars(select(Schedule.name).where(Schedule.suite == suite).order_by(Schedule.name)).all()


def _facts(session: Session, schedule: Schedule, now: datetime) -> ScheduleFacts:
    coming = () if schedule.paused else tuple(islice(after(schedule.cron, schedule.zone, now), NEXT_TIMES))
    started = select(SuiteRun).where(SuiteRun.schedule == schedule.name).order_by(SuiteRun.id.desc()).limit(1)
    problem = None
    try:
        suite_named(session, schedule.suite)
    except NotFound as missing:
        problem = missing.detail
    last = next(iter(firings(session, schedule.name, limit=1)), None)
    return ScheduleFacts(schedule, coming, last, session.scalars(started).first(), problem)
