"""The commands about reservations: reserve, reservations, unreserve."""

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Annotated, Any

from cyclopts import Parameter
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.documents.reservations import ReservationView
from cli.commands.listing import slot_id, slot_ids
from cli.commands.unknown_names import hint_if_unknown
from cli.input.documents import validated
from cli.input.times import duration, moment
from cli.pages.layout import clean, local_time, row, table
from cli.session import HERE, Exit, Session, Stop
from orchestrator.model.reservations import ReservationRequest
from orchestrator.model.slots import SlotName


def reserve(
    *places: str,
    from_: Annotated[str | None, Parameter(name="--from")] = None,
    until: str | None = None,
    for_: Annotated[str | None, Parameter(name="--for")] = None,
    note: str | None = None,
    project: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Reserve slots (HOST.g3), or all slots of hosts (HOST). Running jobs continue.

    Parameters
    ----------
    from_
        Start: 14:00 (the next), '2026-03-01 14:00', or with a time zone. Default: now.
    until
        End, in the same format.
    for_
        Duration instead of the end: 90m, 2h, 1h30m, 1d.
    note
        Reason; shown with the reservation and with jobs that wait for it.
    project
        Project whose jobs may run inside. Default: none.
    """
    with session.client() as client:
        request = validated(
            ReservationRequest,
            {**_places(slot_ids(client, places)), **_times(from_, until, for_), "note": note, "project": project},
        )
        made = client.reservations.make(request)
        session.emit(made, Group(_table([made]), *_reaching(made)))
    return Exit.OK


def reservations(*, slot: str | None = None, past: bool = False, session: Session = HERE) -> Exit:
    """List current and future reservations by start time.

    Parameters
    ----------
    slot
        Only those of this slot (HOST.g3).
    past
        Past ones too: the latest 500.
    """
    with session.client() as client:
        place = slot and slot_id(client, slot)
        found = client.reservations.page(limit=500, slot=place, past=past).items
        session.emit(found, _table(sorted(found, key=lambda made: (made.starts_at, made.id))))
        hint_if_unknown(client, found, slot=place)
    return Exit.OK


def unreserve(reservation: int, /, *, note: str | None = None, session: Session = HERE) -> Exit:
    """Cancel a reservation, before or while it is active.

    Parameters
    ----------
    note
        Reason; kept in the events.
    """
    with session.client() as client:
        ended = client.reservations.cancel(reservation, note)
        session.emit(ended, _table([ended]))
    return Exit.OK


def _places(named: Sequence[str]) -> dict[str, list[str]]:
    if not named:
        raise Stop("reserve: name slots (HOST.g3) or hosts; see: tx81 slots")
    slots = [place for place in named if _is_slot(place)]
    return {"slots": slots, "hosts": [place for place in named if place not in slots]}


def _is_slot(place: str) -> bool:
    """A host's name may have dots itself, so that the last part decides."""
    host, _, name = place.rpartition(".")
    try:
        SlotName.parse(name)
    except ValueError:
        return False
    return bool(host)


def _times(start: str | None, until: str | None, length: str | None) -> dict[str, Any]:
    """When it is, as the server wants it: without a start its clock alone counts, not that of this machine."""
    if (until is None) == (length is None):
        raise Stop("reserve: give the end, with either --until (14:00, '2026-03-01 14:00') or --for (2h)")
    now = datetime.now(UTC)
    starts_at = None if start is None else moment(start, "--from", after=now)
    said: dict[str, Any] = {} if starts_at is None else {"starts_at": starts_at}
    if until is not None:
        return said | {"ends_at": moment(until, "--until", after=starts_at or now)}
    return said | {"seconds": int(duration(length or "", "--for").total_seconds())}


def _table(found: Iterable[ReservationView]) -> Table:
    listing = table("reservation", "state", "slots", "from", "until", "by", "project", "note", right={"reservation"})
    for made in found:
        slots, times = ", ".join(made.slots), (local_time(made.starts_at), local_time(made.ends_at))
        row(listing, made.id, made.state, slots, *times, made.by, made.project, made.note)
    return listing


def _reaching(made: ReservationView) -> list[RenderableType]:
    return [
        Text(
            f"job {job.job_id} ({clean(job.name)}) runs on {job.slot_id} and may continue until {local_time(job.until)}"
        )
        for job in made.reaching
    ]
