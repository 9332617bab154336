"""Slots: the state of each, the jobs that wait for it, and orders to take it out of service and back."""

from collections.abc import Callable
from typing import Annotated
from zoneinfo import ZoneInfo

from fastapi import APIRouter, Query, Response

from api.access import Actor, GuardedRoute, Once, needs
from api.context import Context, Given
from api.documents.base import Page
from api.documents.jobs import JobView
from api.documents.slots import DeviceDayView, ScorePoint, SlotHealth, SlotHistory, SlotView
from api.http.replay import note_replay, replays
from api.parameters import Integer, ThingName
from api.views.jobs import job_view
from api.views.slots import slot_detail, slot_history, slot_view
from orchestrator.errors import BadRequest
from orchestrator.jobs import queries
from orchestrator.model.orders import Reason
from orchestrator.model.scopes import Scope
from orchestrator.model.suspects import SUSPECT_AT
from orchestrator.slots import canaries, device_days, history, hosts, service, suspicion
from orchestrator.slots import queries as slot_queries

router = APIRouter(prefix="/slots", tags=["slots"], route_class=GuardedRoute)

LONGEST_QUEUE_SHOWN = 100
LONGEST_HISTORY_SHOWN = 20

_NO_REASON = Reason()

Days = Annotated[Integer, Query(ge=1, le=60)]
Zone = Annotated[str, Query(max_length=64, description="Whose midnights part the days, e.g. Asia/Shanghai.")]


@router.get("")
def list_slots(context: Given) -> Page[SlotView]:
    """All slots of all hosts that are not retired."""
    with context.database.read() as session:
        now = context.database.now(session)
        gone = hosts.retired(session)
        found = [facts for facts in slot_queries.slots(session, now=now) if facts.slot.host not in gone]
        return Page(items=tuple(slot_view(facts, now, context.settings.lease) for facts in found))


@router.get("/{slot}")
def show_slot(slot: ThingName, context: Given) -> SlotHistory:
    """One slot, written HOST.g3: the jobs that wait for it, the latest attempts there, and the evidence against its
    cards."""
    settings = context.settings
    with context.database.read() as session:
        now = context.database.now(session)
        facts = slot_queries.slots(session, slot, now=now)[0]
        demands = slot_queries.pinned_demands(session, facts.slot)
        queue = queries.queued_jobs(session, demands, LONGEST_QUEUE_SHOWN)
        score = suspicion.score_of(session, slot, now=now, half_life=settings.suspect_half_life)
        tried = slot_queries.latest_attempts(session, slot, LONGEST_HISTORY_SHOWN)
        runs = [job for job, _ in reversed(canaries.runs(session).get(slot, ()))]
        detail = slot_detail(facts, queue, now, settings.lease)
        happened = history.history(session, slot, LONGEST_HISTORY_SHOWN)
        return slot_history(detail, score, tried, runs[:LONGEST_HISTORY_SHOWN], facts.slot.lacks or {}, happened)


@router.get("/{slot}/health")
def show_health(slot: ThingName, context: Given, days: Days = 14, zone: Zone = "UTC") -> SlotHealth:
    """How suspect a slot was lately, and what its time went into on each of the last days of a time zone."""
    half_life = context.settings.suspect_half_life
    with context.database.read() as session:
        now = context.database.now(session)
        slot_queries.slots(session, slot, now=now)
        points = suspicion.course(session, slot, now=now, half_life=half_life)
        spent = device_days.device_days(session, slot, now=now, days=days, zone=_zone(zone))
    return SlotHealth(
        suspect_at=SUSPECT_AT,
        course=tuple(ScorePoint(at=at, score=score) for at, score in points),
        days=tuple(DeviceDayView.model_validate(day) for day in spent),
    )


@router.post("/{slot}/drain", openapi_extra=needs(Scope.OPERATOR))
def drain(slot: ThingName, context: Given, actor: Actor, body: Reason = _NO_REASON) -> SlotView:
    """Drain a slot: it finishes its job and gets no new one. A job that has not started there returns to the queue."""
    return _served(context, slot, actor, body, service.drain)


@router.post("/{slot}/resume", openapi_extra=needs(Scope.OPERATOR))
def resume(slot: ThingName, context: Given, actor: Actor, body: Reason = _NO_REASON) -> SlotView:
    """Return a slot to service, for whatever reason it was taken out.

    A slot under suspicion stays unchanged, with `resume_requested`, until its worker has probed the cards.
    """
    return _served(context, slot, actor, body, service.resume)


@router.post("/{slot}/quarantine", openapi_extra=needs(Scope.OPERATOR))
def quarantine(slot: ThingName, context: Given, actor: Actor, body: Reason = _NO_REASON) -> SlotView:
    """Quarantine a slot: it gets no jobs until someone resumes it. Its running job continues."""
    return _served(context, slot, actor, body, service.quarantine)


@router.post("/{slot}/canary", status_code=201, responses=replays(JobView), openapi_extra=needs(Scope.OPERATOR))
def run_canary(slot: ThingName, context: Given, response: Response, actor: Actor, once: Once) -> JobView:
    """Check the slot's cards now, with the canary of its release; a slot that fails is quarantined."""
    made = context.canaries.start(slot, once, by=actor)
    note_replay(made, response)
    with context.database.read() as session:
        return job_view(queries.job(session, made.jobs[0]))


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (LookupError, ValueError, OSError):
        raise BadRequest("no time zone is called so; write it like Asia/Shanghai", field="zone") from None


def _served(context: Context, slot: str, actor: str, body: Reason, change: Callable[..., None]) -> SlotView:
    with context.database.admission() as (session, now):
        change(session, slot, by=actor, note=body.note, now=now)
        session.flush()
        return slot_view(slot_queries.slots(session, slot, now=now)[0], now, context.settings.lease)
