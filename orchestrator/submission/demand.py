"""Computes the demand class of a request from its placement; refused if no registered slot could ever run it."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.catalog import retirement
from orchestrator.errors import BadSpec
from orchestrator.model.card_specs import OnCards
from orchestrator.model.demand import Demand, FreeSlot, free_slot, hosts_with_enough, labels_of
from orchestrator.model.retirements import Retirable
from orchestrator.model.slots import GOLDEN_LABEL, GROUPS_PER_HOST, SlotKind, groups_of_cards
from orchestrator.model.specs import CanarySpec, GoldenSpec, JobRequest, slot_kind
from orchestrator.storage.tables import Slot

LONGEST_DEMAND = 385
"""Width of `job.demand`, minus the part for the run limit class and the release."""

_GOLDEN = labels_of(GOLDEN_LABEL.items())

MOST_LISTED = 20
"""Number of slots or labels that a refusal lists."""


def registered(session: Session, kind: SlotKind) -> list[FreeSlot]:
    """Every slot of a kind, in any state, by name; without those of retired hosts."""
    wanted = (Slot.kind == kind, Slot.host.not_in(retirement.names(Retirable.HOST)))
    rows = session.execute(select(Slot.id, Slot.name, Slot.labels, Slot.kcore).where(*wanted))
    return sorted((free_slot(*row) for row in rows), key=lambda slot: slot.id)


def demand(request: JobRequest, known: Callable[[SlotKind], Sequence[FreeSlot]]) -> Demand:
    """The demand of a request; BadSpec names the field that excludes the last slot, and the slots that exist.

    `known` gives the slots that are `registered`; a caller that checks many requests reads them once. If no slot of
    the kind is registered yet, nothing is refused: the workers may be about to start.
    """
    wanted = _wanted(request)
    if len(wanted.key()) > LONGEST_DEMAND:
        field = "placement.exclude" if wanted.exclude else "placement.labels"
        raise BadSpec("placement lists too many slots or labels", field=field)
    if not request.placement.wait_for_slot and wanted != Demand(wanted.kind):
        _check(wanted, known(wanted.kind), _field_of_slots(request))
    return wanted


def _wanted(request: JobRequest) -> Demand:
    spec, placement = request.spec, request.placement
    only: tuple[str, ...] = () if placement.slot is None else (placement.slot,)
    groups = 1
    if isinstance(spec, OnCards) and not only:
        groups = spec.groups
        named = () if spec.cards is None or groups == GROUPS_PER_HOST else groups_of_cards(spec.cards)
        only = tuple(map(str, named))
    labels = labels_of(placement.labels.items()) | (_GOLDEN if isinstance(spec, GoldenSpec) else frozenset())
    count, canary = 1 if only else groups, isinstance(spec, CanarySpec)
    return Demand(
        slot_kind(spec), only, frozenset(placement.exclude), labels, count, canary=canary, serve=spec.kind == "serve"
    )


def _field_of_slots(request: JobRequest) -> str:
    """The field in which the request names slots, or their number."""
    if request.placement.slot is not None:
        return "placement.slot"
    return "spec.groups" if getattr(request.spec, "cards", None) is None else "spec.cards"


def _check(wanted: Demand, slots: Sequence[FreeSlot], field: str) -> None:
    """Take the conditions one after the other: the first one that leaves no host with enough slots is reported."""
    if not slots or hosts_with_enough(wanted, slots):
        return
    wait = "set placement.wait_for_slot to wait for one"
    named = replace(wanted, labels=frozenset(), exclude=frozenset())
    if not hosts_with_enough(named, slots):
        raise BadSpec(f"{_nowhere(wanted, slots)}; or {wait}", field=field)
    able = replace(named, labels=wanted.labels & _GOLDEN)
    if not hosts_with_enough(able, slots):
        raise BadSpec(
            "no CPU seat that fits has torch and transformers: pip install '.[golden]' where its worker is installed, "
            f"or name an interpreter that has them in TX81_GOLDEN_PYTHON, and restart that worker; or {wait}",
            field="spec.kind",
        )
    labelled = replace(wanted, exclude=frozenset())
    if not hosts_with_enough(labelled, slots):
        there = sorted({label for slot in slots if named.admits(slot) for label in slot.labels})
        asked = ", ".join(sorted(wanted.labels))
        several = f" {wanted.slots} slots of one host carry" if wanted.slots > 1 else " slot carries"
        raise BadSpec(f"no{several} {asked}; there are {_some(there)}; or {wait}", field="placement.labels")
    left = [slot.id for slot in slots if labelled.admits(slot)]
    raise BadSpec(
        f"too few of the slots that fit ({_some(left)}) are not excluded; exclude fewer, or {wait}",
        field="placement.exclude",
    )


def _nowhere(wanted: Demand, slots: Sequence[FreeSlot]) -> str:
    names = " and ".join(wanted.only)
    if wanted.slots == 1:
        return f"there is no slot {names}; there are {_some([slot.id for slot in slots])}"
    sizes = Counter(slot.host for slot in slots)
    there = _some([f"{host} with {sizes[host]}" for host in sorted(sizes)])
    asked = f"{names} together" if names else f"{wanted.slots} card groups"
    return f"no host has {asked}; there are {there}"


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(names[:MOST_LISTED]) or "none"
    return f"{shown} and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else shown
