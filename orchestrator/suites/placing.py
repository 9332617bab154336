"""Where a cell is measured again: on the card groups on which it was worse, or on others."""

from collections.abc import Sequence

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import BadSpec
from orchestrator.model.slots import SlotKind
from orchestrator.model.specs import JobRequest, Limits, PlacementRequest
from orchestrator.model.suites import JobRole
from orchestrator.storage.tables import Slot

WAITS_SECONDS = 4 * 3600
"""A second measurement that is not placed within this time counts as spoiled: the verdict does not wait for ever."""


def pinned_to(session: Session, request: JobRequest, role: JobRole, place: Sequence[str]) -> JobRequest:
    """The request for this role; BadSpec if the cell ran nowhere, so that no place is known."""
    if role is JobRole.REPEAT:
        return request
    if not place:
        raise BadSpec("it is unknown where it ran")
    labels = request.placement.labels
    if role is JobRole.CONFIRM_OTHER:
        placement = PlacementRequest(exclude=tuple(place), labels=labels)
    elif len(place) == 1:
        placement = PlacementRequest(slot=place[0], labels=labels)
    else:  # several slots cannot be named by a request without changing what it measures
        cards = select(Slot.id).where(Slot.kind == SlotKind.CARD_GROUP, Slot.id.not_in(place)).order_by(Slot.id)
        placement = PlacementRequest(exclude=tuple(session.scalars(cards)), labels=labels)
    limits = request.limits.model_copy(update={"queue_seconds": request.limits.queue_seconds or WAITS_SECONDS})
    changed = {"placement": placement, "limits": Limits.model_validate(limits.model_dump())}
    return request.model_copy(update=changed)
