"""Slots and their history as documents."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from api.documents.jobs import AttemptView, JobReference
from api.documents.slots import Occupancy, Presence, SlotAttemptView, SlotDetail, SlotHistory, SlotView
from api.views.jobs import job_view
from orchestrator.jobs.queries import ListedJob
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, ServiceState
from orchestrator.model.suspects import SUSPECT_AT, Score
from orchestrator.slots.history import SlotEvent
from orchestrator.slots.queries import SlotFacts
from orchestrator.storage.tables import Attempt, Job, Slot


def slot_view(facts: SlotFacts, now: datetime, lost_after: timedelta) -> SlotView:
    """A slot as lists show it."""
    return SlotView.model_validate(_slot_fields(facts, now, lost_after))


def slot_detail(facts: SlotFacts, queue: list[ListedJob], now: datetime, lost_after: timedelta) -> SlotDetail:
    """A slot with the jobs that wait for it alone."""
    fields = _slot_fields(facts, now, lost_after)
    return SlotDetail.model_validate({**fields, "queue": [job_view(entry) for entry in queue]})


def slot_history(
    detail: SlotDetail, score: Score, tried: Sequence[tuple[Attempt, Job]], canaries: Sequence[Job],
    lacks: Mapping[str, Any], history: Sequence[SlotEvent],
) -> SlotHistory:  # fmt: skip
    """A slot with what speaks for and against its cards."""
    return SlotHistory.model_validate(
        {
            **{name: getattr(detail, name) for name in SlotDetail.model_fields},
            "score": round(score.value, 2),
            "suspect_at": SUSPECT_AT,
            "counted": [trial.attempt_id for trial in score.failures],
            "recent": [
                {
                    **{name: getattr(attempt, name) for name in SlotAttemptView.model_fields if name != "job"},
                    "job": job,
                    "telemetry": _without_points(attempt.telemetry),
                }
                for attempt, job in tried
            ],
            "canaries": canaries,
            "lacks": lacks,
            "history": history,
        }
    )


def _without_points(telemetry: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if telemetry is None:
        return None
    measures = {name: {**measure, "points": []} for name, measure in telemetry["measures"].items()}
    return {**telemetry, "measures": measures}


def presence(slot: Slot, now: datetime, lost_after: timedelta) -> Presence:
    """Whether the slot's worker sent a heartbeat within `lost_after`, and hears its doorbells."""
    if slot.heartbeat_at is None:
        return Presence.AWAY
    if slot.heartbeat_at <= now - lost_after:
        return Presence.LOST
    return Presence.ALIVE if slot.deaf is None else Presence.DEAF


def drained_when(facts: SlotFacts) -> datetime | None:
    """When a draining slot is drained at the latest, by the run limit of what it runs; None if it does not drain."""
    return limit_at(facts) if facts.slot.service_state is ServiceState.DRAINING else None


def limit_at(facts: SlotFacts) -> datetime | None:
    """When what a slot runs, or is assigned, reaches its run limit; None if it has nothing."""
    attempt, job = facts.attempt, facts.job
    if job is None or attempt is None:
        return None
    return (attempt.started_at or attempt.assigned_at) + timedelta(seconds=job.run_seconds)


def _slot_fields(facts: SlotFacts, now: datetime, lost_after: timedelta) -> dict[str, Any]:
    slot, lease, attempt = facts.slot, facts.lease, facts.attempt
    occupancy = Occupancy.FREE
    if lease is not None:
        running = attempt is not None and attempt.state is AttemptState.RUNNING
        occupancy = Occupancy.RUNNING if running else Occupancy.ASSIGNED
    return {
        **{name: getattr(slot, name) for name in SlotView.model_fields if hasattr(slot, name)},
        "cards": SlotName.parse(slot.name).cards,
        "presence": presence(slot, now, lost_after),
        "drained_when": drained_when(facts),
        "limit_at": limit_at(facts),
        "occupancy": occupancy,
        "lease_expires_at": lease and lease.expires_at,
        "attempt": attempt and AttemptView.model_validate(attempt),
        "job": facts.job and JobReference.model_validate(facts.job),
        "queued": facts.queued,
        "reservation": facts.window,
    }
