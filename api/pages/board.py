"""The home page: what each card group does, until when, what is wrong, and what waits."""

from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from api.access import Actor
from api.context import Context, Given
from api.documents.hosts import HostView
from api.documents.slots import Occupancy, Presence, SlotView
from api.pages.guard import Fields, checked, one, pages
from api.pages.rendering import render
from api.pages.viewer import viewer_of
from api.parameters import ThingName
from api.routes import cases, hosts, jobs, models, queue, releases, slots
from orchestrator.errors import NotFound
from orchestrator.jobs.queries import JobFilter
from orchestrator.model.orders import Reason
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import ServiceState

router = pages()

FAILURES_SHOWN = 6
MOST_COUNTED = 100
"""Failures and cases of a day that are counted; beyond it the board says "more than"."""

SLOT_ORDERS = {"drain": slots.drain, "resume": slots.resume, "quarantine": slots.quarantine}


@dataclass(frozen=True)
class Tile:
    """A slot as the board shows it: one state in one word, of everything that is true of it what matters first."""

    slot: SlotView
    state: str
    why: str | None
    by: str | None
    next_job: int | None

    @property
    def progress(self) -> str | None:
        """How far the tool says it is, in whatever it counts."""
        told = (self.slot.attempt and self.slot.attempt.progress) or {}
        return " / ".join(str(told[name]) for name in ("done", "total") if name in told) or None

    @property
    def orders(self) -> tuple[str, ...]:
        """What an operator may order of it now."""
        in_service = self.slot.service_state is ServiceState.IN_SERVICE
        return ("drain", "quarantine") if in_service else ("resume",)


def tile_of(slot: SlotView, next_job: int | None) -> Tile:
    """What is wrong comes before what runs: a person acts on that."""
    change = slot.service_change
    said, by = (change.note, change.by) if change else (None, None)
    if slot.service_state is ServiceState.QUARANTINED:
        evidence = slot.quarantined_because
        why, by = (evidence.reason, evidence.by or by) if evidence else (said, by)
        return Tile(slot, "quarantined" if by else "suspect", why, by, next_job)
    if slot.presence is not Presence.ALIVE:
        return Tile(slot, str(slot.presence), slot.deaf.reason if slot.deaf else None, None, next_job)
    if slot.service_state is not ServiceState.IN_SERVICE:
        return Tile(slot, str(slot.service_state), said, by, next_job)
    return Tile(slot, str(slot.occupancy), None, None, next_job)


@router.get("/")
def board(context: Given, request: Request) -> Response:
    """The whole page."""
    return render(request, "board.html", **_seen(context, request))


@router.get("/board")
def live_board(context: Given, request: Request) -> Response:
    """What changes of it, for the page to put in place."""
    return render(request, "board_live.html", **_seen(context, request))


@router.post("/slots/{slot}/{order}", openapi_extra={"x-scope": "operator"})
def order_slot(
    slot: ThingName, order: str, context: Given, request: Request, actor: Actor,
    fields: Fields,
) -> Response:  # fmt: skip
    """Take a slot out of service, or return it."""
    if order not in SLOT_ORDERS:
        raise NotFound(f"there is no order {order} for slots")
    view = SLOT_ORDERS[order](slot, context, actor, checked(Reason, note=one(fields, "note")))
    return render(request, "ordered.html", slot=view, order=order)


def _seen(context: Context, request: Request) -> dict[str, Any]:
    waiting = queue.show_queue(context)
    here, every = hosts.list_hosts(context).items, slots.list_slots(context).items
    failed = jobs.list_jobs(context, JobFilter(failed_after=viewer_of(request).midnight), limit=MOST_COUNTED).items
    tiles = [tile_of(slot, waiting.next_jobs.get(slot.id)) for slot in every]
    return {
        "hosts": here,
        "groups": _by_host(tiles, SlotKind.CARD_GROUP),
        "seats": _by_host(tiles, SlotKind.CPU),
        "counts": _counts([slot for slot in every if slot.kind is SlotKind.CARD_GROUP]),
        "queue": waiting,
        "failed": failed[:FAILURES_SHOWN],
        "failures": len(failed),
        "cases": len(cases.list_cases(context, limit=MOST_COUNTED).items),
        "most_counted": MOST_COUNTED,
        "lacks": _lacks(context, here),
    }


def _by_host(tiles: Sequence[Tile], kind: SlotKind) -> dict[str, list[Tile]]:
    found: dict[str, list[Tile]] = defaultdict(list)
    for tile in tiles:
        if tile.slot.kind is kind:
            found[tile.slot.host].append(tile)
    return found


def _counts(groups: Sequence[SlotView]) -> Counter[str]:
    found = Counter(str(slot.occupancy) for slot in groups)
    found["all"] = len(groups)
    found["out"] = sum(slot.service_state is not ServiceState.IN_SERVICE for slot in groups)
    found["away"] = sum(slot.presence is not Presence.ALIVE for slot in groups)
    found["busy"] = found[Occupancy.RUNNING] + found[Occupancy.ASSIGNED]
    return found


def _lacks(context: Context, here: Sequence[HostView]) -> list[str]:
    """What an empty lab needs before a first job can run, in this order."""
    needed = {
        "hosts": not here,
        "releases": not releases.list_releases(context).items,
        "models": not models.list_models(context).items,
    }
    return [name for name, lacking in needed.items() if lacking]
