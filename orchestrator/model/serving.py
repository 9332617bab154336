"""How the life of a server goes: when it is stopped, and how often one that has died is started again. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from orchestrator.model.card_specs import ServeSpec

LONG_ENOUGH = timedelta(seconds=60)
"""A server that was ready for so long died of something new; one that did not may do the same at every start."""


@dataclass(frozen=True)
class Served:
    """What is known of a server that has not ended."""

    began_at: datetime | None = None
    """When it was ready first, however often it was started."""
    ready_at: datetime | None = None
    """Since when it is ready now; None while it is not."""
    used_at: datetime | None = None
    """When a use was noted last, since then."""
    clients: int = 0
    """Jobs that use its endpoint."""
    unfinished: int = 0
    """How many of them have not ended."""
    siblings: int = 0
    """How many of them are of its own pipeline."""


def why_stop(spec: ServeSpec, seen: Served, now: datetime) -> str | None:
    """Why a server is to be stopped now; None if it is to continue.

    While a job that uses it has not ended it is not idle: that job may only be waiting for a seat.
    """
    with_clients = spec.until == "clients_ended" or (spec.until is None and seen.siblings > 0)
    if with_clients and seen.clients and not seen.unfinished:
        return f"all jobs that use its endpoint have ended ({seen.clients})"
    if seen.began_at is not None and now >= seen.began_at + timedelta(seconds=spec.life_seconds):
        return f"it has run for its life_seconds ({spec.life_seconds} s)"
    if seen.ready_at is None or spec.idle_seconds is None or seen.unfinished:
        return None
    if now >= max(seen.ready_at, seen.used_at or seen.ready_at) + timedelta(seconds=spec.idle_seconds):
        return f"not used for {spec.idle_seconds} s (idle_seconds)"
    return None


def died_at_once(lives: Sequence[timedelta | None]) -> int:
    """How many of the latest attempts in a row did not live long; the oldest comes first, None was never ready."""
    count = 0
    for life in reversed(lives):
        if life is not None and life >= LONG_ENOUGH:
            break
        count += 1
    return count
