"""When and where a gang that cannot start now can start at the latest: the slots set aside for it."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from orchestrator.model.demand import FreeSlot
from orchestrator.model.windows import Window
from orchestrator.scheduling.placement.candidate import Candidate


@dataclass(frozen=True)
class Gathering:
    """These slots of `host` are set aside for a waiting gang: it starts there at `starts_at`, or earlier."""

    job_id: int
    host: str
    slot_ids: tuple[str, ...]
    starts_at: datetime
    ends_at: datetime
    """When its run limit ends it, if it starts no earlier."""


def earliest(
    candidate: Candidate,
    slots: Sequence[FreeSlot],
    free_at: Mapping[str, datetime],
    windows: Mapping[str, Sequence[Window]],
) -> Gathering | None:
    """The first moment at which enough of `slots`, all of one host, are free and open to the gang together.

    That is now, when a job reaches its run limit, or when a window is over. None if there are too few of them. If there
    are more than enough, those that become free last are used: slots that are free already stay available to others.
    """
    ends = {window.ends_at for slot in slots for window in windows.get(slot.id, ())}
    for moment in sorted({free_at[slot.id] for slot in slots} | ends):
        until = moment + candidate.run_limit
        ready = [
            slot
            for slot in slots
            if free_at[slot.id] <= moment
            and not any(window.closed(candidate.project, moment, until) for window in windows.get(slot.id, ()))
        ]
        if len(ready) >= candidate.demand.slots:
            ready.sort(key=lambda slot: (free_at[slot.id], -slot.name.index), reverse=True)
            chosen = in_order(ready[: candidate.demand.slots])
            ids = tuple(slot.id for slot in chosen)
            return Gathering(candidate.job_id, chosen[0].host, ids, moment, until)
    return None


def in_order(slots: Iterable[FreeSlot]) -> list[FreeSlot]:
    """Slots of one host, the lowest number first."""
    return sorted(slots, key=lambda slot: slot.name.index)
