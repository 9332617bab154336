"""The commands about slots: what each is doing, and taking them out of service and back."""

import time
from collections.abc import Callable, Sequence
from typing import Annotated

from cyclopts import App, Parameter

from api.client import Client, ServerUnreachable
from api.schemas import SlotView
from cli.session import Exit, Session, Stop, hint
from cli.show import out_of_service, slots_table
from orchestrator.model.states import ServiceState

_HERE = Session()

_POLL = 0.5
"""Seconds between two looks at a slot that drains."""

app = App(name="slots", help="Card groups and CPU seats; `drain`, `resume`, `quarantine` take one out and back.")


@app.default
def slots(*, session: Session = _HERE) -> Exit:
    """Card groups and CPU seats: who is there, what it does, and why one is given no work."""
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
    session: Session = _HERE,
) -> Exit:
    """Let slots (HOST.g3) finish what they run and take no more.

    Parameters
    ----------
    host
        All slots of this host.
    note
        Why; everybody who looks at the slot sees it.
    wait
        Return when all are drained.
    """
    with session.client() as client:
        changed = _changed(client, "drain", slots, host, lambda slot: client.drain(slot, note))
        if wait:
            changed = _drained(client, changed)
        session.emit(changed, slots_table(changed))
    return Exit.OK


@app.command
def resume(*slots: str, host: str | None = None, note: str | None = None, session: Session = _HERE) -> Exit:
    """Give slots work again, whatever took them out of service.

    Parameters
    ----------
    host
        All slots of this host.
    """
    with session.client() as client:
        changed = _changed(client, "resume", slots, host, lambda slot: client.resume(slot, note))
        session.emit(changed, slots_table(changed))
    return Exit.OK


@app.command
def quarantine(*slots: str, host: str | None = None, note: str | None = None, session: Session = _HERE) -> Exit:
    """Give suspect slots no work until someone resumes them; what they run goes on.

    Parameters
    ----------
    host
        All slots of this host.
    note
        What is wrong with them.
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
    wanted = named or [slot.id for slot in client.slots() if slot.host == host]
    if not wanted:
        raise Stop(f"--host: there is no slot of a host {host}; see: tx81 slots")
    return [change(slot) for slot in wanted]


def _drained(client: Client, slots: Sequence[SlotView]) -> list[SlotView]:
    """These slots once none drains any more; one that someone resumes meanwhile is not waited for."""
    told: set[str] = set()
    while draining := [slot for slot in slots if slot.service_state is ServiceState.DRAINING]:
        for slot in draining:
            if slot.id not in told:
                told.add(slot.id)
                hint(f"  {slot.id} finishes job {slot.job.id if slot.job else '?'}; {out_of_service(slot)}")
        try:
            time.sleep(_POLL)
            slots = [client.slot(slot.id) for slot in slots]
        except ServerUnreachable:
            continue  # it may be restarted; the slots drain all the same
        except KeyboardInterrupt:
            raise Stop("detached; the slots go on draining. Look again: tx81 slots", Exit.DETACHED) from None
    return list(slots)
