"""The commands about slots: list, show, drain, quarantine, resume."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import App, Parameter

from api.client.client import Client, ServerUnreachable
from api.documents.slots import Presence, SlotView
from cli.commands.listing import full_slot_id, slot_id
from cli.input.numbers import Seconds
from cli.pages.slot_history import refused, slot_page
from cli.pages.slots import out_of_service, slots_table
from cli.session import HERE, Exit, Session, Stop, hint
from orchestrator.model.states import ServiceState

_POLL = 0.5
"""Seconds between two requests for a slot that drains, or whose cards its worker checks."""

app = App(name="slots", help="Card groups and CPU seats; `show` one; `drain`, `resume`, `quarantine`.")


@app.default
def slots(*, session: Session = HERE) -> Exit:
    """List card groups and CPU seats: presence, current job, and why one is out of service."""
    with session.client() as client:
        found = client.slots()
        session.emit(found, slots_table(found))
    return Exit.OK


@app.command
def drain(
    *slots: str,
    host: str | None = None,
    note: str | None = None,
    wait: Annotated[bool, Parameter(negative="")] = False,
    session: Session = HERE,
) -> Exit:
    """Drain slots (HOST.g3): they finish their jobs and get no new ones.

    Parameters
    ----------
    host
        All slots of this host.
    note
        Reason; shown with the slot.
    wait
        Wait until all are drained.
    """
    with session.client() as client:
        changed = _changed(client, "drain", slots, host, lambda slot: client.drain(slot, note))
        if wait:
            changed = _drained(client, changed)
        session.emit(changed, slots_table(changed))
    return Exit.OK


@app.command
def show(slot: str, *, session: Session = HERE) -> Exit:
    """Show one slot in detail: why it is out of service, its latest attempts and canaries.

    Parameters
    ----------
    slot
        HOST.g3, or g3 if only one host has it.
    """
    with session.client() as client:
        found = client.slot(slot_id(client, slot))
        session.emit(found, slot_page(found))
    return Exit.OK


@app.command
def resume(
    *slots: str,
    host: str | None = None,
    note: str | None = None,
    timeout: Seconds = 150.0,
    session: Session = HERE,
) -> Exit:
    """Return slots to service. Suspected cards are checked first; exit with 4 if they are not free.

    Parameters
    ----------
    host
        All slots of this host.
    timeout
        Seconds to wait for the workers to check the cards; the request stays valid afterwards.
    """
    with session.client() as client:
        changed = _changed(client, "resume", slots, host, lambda slot: client.resume(slot, note))
        changed = _answered(client, changed, time.monotonic() + timeout)
        session.emit(changed, slots_table(changed))
    for slot in changed:
        if slot.resume_requested is not None:
            hint(f"{slot.id}: its worker has not checked its cards yet; the request stays valid. See: tx81 slots")
        elif slot.service_state is not ServiceState.IN_SERVICE:
            hint(f"{slot.id}: not resumed; {refused(slot)}")
    if all(slot.service_state is ServiceState.IN_SERVICE for slot in changed):
        return Exit.OK
    return Exit.TIMED_OUT if any(slot.resume_requested for slot in changed) else Exit.FAULT


@app.command
def quarantine(*slots: str, host: str | None = None, note: str | None = None, session: Session = HERE) -> Exit:
    """Quarantine slots: they get no jobs until someone resumes them. Running jobs continue.

    Parameters
    ----------
    host
        All slots of this host.
    note
        Reason: what is wrong with them.
    """
    with session.client() as client:
        changed = _changed(client, "quarantine", slots, host, lambda slot: client.quarantine(slot, note))
        session.emit(changed, slots_table(changed))
    return Exit.OK


def _changed(
    client: Client, what: str, named: Sequence[str], host: str | None, change: Callable[[str], SlotView]
) -> list[SlotView]:
    if bool(named) == (host is not None):
        raise Stop(f"slots {what}: name slots (HOST.g3) or give --host; see: tx81 slots")
    known = client.slots()
    wanted = [full_slot_id(slot, known) for slot in named] or [slot.id for slot in known if slot.host == host]
    if not wanted:
        raise Stop(f"--host: host {host} has no slots; see: tx81 slots")
    ids = {slot.id for slot in known}
    if missing := [slot for slot in wanted if slot not in ids]:
        raise Stop(f"there is no slot {', '.join(missing)}, so none was changed; see: tx81 slots", Exit.REFUSED)
    return [change(slot) for slot in wanted]


def _answered(client: Client, slots: Sequence[SlotView], deadline: float) -> list[SlotView]:
    """These slots once their workers have answered; one whose worker is away is not waited for."""
    while time.monotonic() < deadline:
        if not any(slot.resume_requested and slot.presence is Presence.ALIVE for slot in slots):
            break
        try:
            time.sleep(_POLL)
            slots = [client.slot(slot.id) for slot in slots]
        except ServerUnreachable:
            continue  # it may be restarted; the request stands all the same
        except KeyboardInterrupt:
            raise Stop("detached; the request stays valid. See: tx81 slots", Exit.DETACHED) from None
    return list(slots)


def _drained(client: Client, slots: Sequence[SlotView]) -> list[SlotView]:
    """These slots once none drains any more; one that someone resumes meanwhile is not waited for."""
    told: set[str] = set()
    while draining := [slot for slot in slots if slot.service_state is ServiceState.DRAINING]:
        for slot in draining:
            if slot.id not in told:
                told.add(slot.id)
                hint(f"  {slot.id} is finishing job {slot.job.id if slot.job else '?'}; {out_of_service(slot)}")
        try:
            time.sleep(_POLL)
            slots = [client.slot(slot.id) for slot in slots]
        except ServerUnreachable:
            continue  # it may be restarted; the slots drain all the same
        except KeyboardInterrupt:
            raise Stop("detached; the slots continue to drain. See: tx81 slots", Exit.DETACHED) from None
    return list(slots)
