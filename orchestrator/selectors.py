"""From where a request may run to its demand class, refused when no slot that is registered could ever take it."""

from collections.abc import Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import BadSpec
from orchestrator.lineup import free_slot
from orchestrator.model.slots import groups_of_cards
from orchestrator.model.specs import CanarySpec, InferSpec, JobRequest, slot_kind
from orchestrator.placement.demand import Demand, FreeSlot, labels_of
from orchestrator.storage.tables import Slot

LONGEST_DEMAND = 500
"""Width of `job.demand`."""

MOST_TOLD = 20
"""Slots or labels that a refusal lists."""


def demand(session: Session, request: JobRequest) -> str:
    """The request's demand class; BadSpec names the field by which nothing is left that fits, and what there is.

    A lab that has no slot of the kind yet refuses nothing: its workers may only be about to start.
    """
    wanted = _wanted(request)
    if len(wanted.key()) > LONGEST_DEMAND:
        field = "placement.exclude" if wanted.exclude else "placement.labels"
        raise BadSpec("so many slots or labels can not be told apart; use placement.slot", field=field)
    if not request.placement.wait_for_slot and wanted != Demand(wanted.kind):
        rows = session.execute(select(Slot.id, Slot.name, Slot.labels, Slot.kcore).where(Slot.kind == wanted.kind))
        _check(wanted, sorted((free_slot(*row) for row in rows), key=lambda slot: slot.id))
    return wanted.key()


def _wanted(request: JobRequest) -> Demand:
    placement = request.placement
    only = placement.slot
    if only is None and isinstance(request.spec, InferSpec) and request.spec.cards is not None:
        only = str(groups_of_cards(request.spec.cards)[0])
    return Demand(
        slot_kind(request.spec), only, frozenset(placement.exclude), labels_of(placement.labels.items()),
        canary=isinstance(request.spec, CanarySpec),
    )  # fmt: skip


def _check(wanted: Demand, slots: Sequence[FreeSlot]) -> None:
    """Take the conditions one after the other: the first that leaves nothing is at fault."""
    if not slots or any(wanted.admits(slot) for slot in slots):
        return
    wait = "set placement.wait_for_slot to wait for one"
    named = [slot for slot in slots if replace(wanted, labels=frozenset()).selects(slot)]
    if not named:
        raise BadSpec(
            f"there is no slot {wanted.only}; there are {_some([slot.id for slot in slots])}; or {wait}",
            field="placement.slot",
        )
    if not any(wanted.selects(slot) for slot in named):
        there = sorted({label for slot in named for label in slot.labels})
        asked = ", ".join(sorted(wanted.labels))
        raise BadSpec(f"no slot carries {asked}; there are {_some(there)}; or {wait}", field="placement.labels")
    left = [slot.id for slot in named if wanted.selects(slot)]
    raise BadSpec(f"every slot that fits is excluded: {_some(left)}; leave one, or {wait}", field="placement.exclude")


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_TOLD]) or "none"
    return f"{shown} and {len(names) - MOST_TOLD} more" if len(names) > MOST_TOLD else shown
