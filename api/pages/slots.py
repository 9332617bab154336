"""Slots and hosts: which there are, the history of one card group, and the orders of operators."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response

from api.access import Actor
from api.context import Given
from api.documents.slots import DeviceDayView, SlotHealth
from api.pages.board import tile_of
from api.pages.guard import Fields, checked, one, pages
from api.pages.rendering import render, render_live
from api.pages.viewer import viewer_of
from api.parameters import NameFilter, ThingName
from api.routes import hosts, releases, reservations, slots
from orchestrator.errors import BadRequest
from orchestrator.model.provision import ProvisionRequest
from orchestrator.model.slots import SlotKind

router = pages()

RESERVATIONS = 10
STATES = ("free", "assigned", "running", "draining", "drained", "suspect", "quarantined", "deaf", "lost", "away")
DAY = 86400.0
_PARTS = ("succeeded", "failed", "faults", "canaries")


@dataclass(frozen=True)
class DayBar:
    """One day as a bar: each part with where it begins and how wide it is, in percent of 24 hours."""

    day: DeviceDayView
    parts: tuple[tuple[str, float, float], ...]

    @property
    def busy(self) -> float:
        """Seconds in which an attempt ran."""
        return self.day.succeeded + self.day.failed + self.day.faults + self.day.canaries


@router.get("/slots")
def list_slots(context: Given, request: Request, host: NameFilter | None = None, state: str | None = None) -> Response:
    """All slots, or those of a host or in a state."""
    # Which job comes next is on the board: the forecast of the whole queue is too much for each list of slots.
    tiles = [tile_of(slot, None) for slot in slots.list_slots(context).items]
    tiles = [tile for tile in tiles if host in (None, tile.slot.host) and state in (None, tile.state)]
    values: dict[str, Any] = {
        "tiles": tiles,
        "hosts": hosts.list_hosts(context).items,
        "retired": hosts.list_hosts(context, retired=True).items,
        "states": STATES,
        "asked": {"host": host or "", "state": state or ""},
    }
    return render_live(request, "slots", **values)


@router.get("/slots/{slot}")
def show_slot(slot: ThingName, context: Given, request: Request) -> Response:
    """One slot: what it does, what speaks for and against its cards, and what its time went into."""
    detail = slots.show_slot(slot, context)
    values: dict[str, Any] = {
        "slot": detail,
        "tile": tile_of(detail, None),
        "reservations": reservations.list_reservations(context, slot=slot, past=True, limit=RESERVATIONS).items,
    }
    if "hx-request" not in request.headers:
        zone = viewer_of(request).zone
        health = slots.show_health(slot, context, days=14, zone=zone.key if zone else "UTC")
        values |= {"points": points_of(health), "suspect_at": health.suspect_at, "days": bars_of(health.days)}
    return render_live(request, "slot", **values)


@router.get("/hosts/{host}")
def show_host(host: ThingName, context: Given, request: Request) -> Response:
    """One host: its slots, and setting it up."""
    detail = hosts.show_host(host, context)
    values: dict[str, Any] = {
        "host": detail,
        "groups": [tile_of(slot, None) for slot in detail.places if slot.kind is SlotKind.CARD_GROUP],
        "seats": [tile_of(slot, None) for slot in detail.places if slot.kind is SlotKind.CPU],
        "retired": detail.name in {each.name for each in hosts.list_hosts(context, retired=True).items},
    }
    if "hx-request" not in request.headers:
        values["releases"] = releases.list_releases(context).items
    return render_live(request, "host", **values)


@router.post("/slots/{slot}/canary", openapi_extra={"x-scope": "operator"})
def run_canary(slot: ThingName, context: Given, request: Request, actor: Actor) -> Response:
    """Check the slot's cards now."""
    made = slots.run_canary(slot, context, Response(), actor, None)
    return render(request, "ordered_jobs.html", done=1, refused=(), made=(made.id,), left=0)


@router.post("/hosts/{host}/provision", openapi_extra={"x-scope": "admin"})
def provision(host: ThingName, context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """Set a host up with a release, or say what would be done."""
    texts = {name: one(fields, name) for name in ("packages", "root", "release", "profile")}
    for name, text in texts.items():
        if text is None:
            raise BadRequest("is missing; fill it in", field=name)
    listed = {name: _listed(one(fields, name)) for name in ("steps", "without") if one(fields, name)}
    asked = checked(
        ProvisionRequest, **texts, **listed, driver="leave_driver" not in fields, dry_run="dry_run" in fields
    )
    made = hosts.provision(host, asked, context, Response(), None, actor)
    return Response(status_code=204, headers={"HX-Redirect": f"/jobs/{made.id}"})


def points_of(health: SlotHealth) -> str:
    """The course of the score as JSON: seconds since 1970, then scores."""
    return json.dumps([[point.at.timestamp() for point in health.course], [point.score for point in health.course]])


def bars_of(days: Sequence[DeviceDayView]) -> list[DayBar]:
    """The days as bars, the latest first."""
    return [DayBar(day, tuple(_parts(day))) for day in reversed(days)]


def _parts(day: DeviceDayView) -> list[tuple[str, float, float]]:
    found: list[tuple[str, float, float]] = []
    begin = 0.0
    for name in _PARTS:
        width = 100 * getattr(day, name) / DAY
        if width > 0:
            found.append((name, round(begin, 2), round(max(width, 0.3), 2)))
        begin += width
    return found


def _listed(text: str | None) -> list[str]:
    return [part.strip() for part in (text or "").split(",") if part.strip()]
