"""Tables of slots and hosts."""

from collections.abc import Iterable

from rich.table import Table

from api.documents.hosts import HostView
from api.documents.slots import Presence, SlotView
from cli.pages.layout import ago, local_time, row, table
from orchestrator.model.states import ServiceState


def slots_table(slots: Iterable[SlotView]) -> Table:
    """Slots: who is there, what it does, and who waits for it."""
    shown = table("slot", "cards", "worker", "service", "occupancy", "job", "queued", "why", right={"queued"})
    for slot in slots:
        cards = f"{slot.cards[0]}..{slot.cards[-1]}" if slot.cards else ""
        job = f"{slot.job.id} {slot.job.name}" if slot.job else ""
        row(
            shown, slot.id, cards, slot.presence, slot.service_state, slot.occupancy, job, slot.queued or "",
            "; ".join(filter(None, (out_of_service(slot), unheard(slot), reserved(slot)))),
        )  # fmt: skip
    return shown


def hosts_table(hosts: Iterable[HostView]) -> Table:
    """Hosts: who is there, how many slots could take a job, and how the others stand."""
    shown = table("host", "worker", "free", "slots", "not in service", "seen", "labels", right={"slots"})
    for host in hosts:
        free = ", ".join(f"{count} {kind}" for kind, count in sorted(host.free.items())) or "none"
        out = [
            f"{count} {state}"
            for counts, usual in ((host.presence, Presence.ALIVE), (host.service, ServiceState.IN_SERVICE))
            for state, count in sorted(counts.items())
            if state != usual
        ]
        worker = Presence.ALIVE if Presence.ALIVE in host.presence else Presence.AWAY
        last = host.last_seen_at or host.away_since
        seen = ago(last) if last else "never"
        labels = " ".join(f"{name}={value}" for name, value in sorted(host.labels.items()))
        row(shown, host.name, worker, free, host.slots, ", ".join(out), seen, labels)
    return shown


def out_of_service(slot: SlotView) -> str:
    """One line on why a slot is given no work; empty if it is in service."""
    if slot.service_state is ServiceState.IN_SERVICE:
        return ""
    if slot.quarantined_because is not None:
        because = slot.quarantined_because
        source = (
            f" (job {because.job_id})" if because.job_id is not None else f" (by {because.by})" if because.by else ""
        )
        return f"{because.reason}{source}"
    change = slot.service_change
    said = [f"{change.note or 'no note'} (by {change.by})"] if change is not None and change.by else []
    if slot.drained_when is not None:
        said.append(f"drained by {local_time(slot.drained_when, 'seconds')} at the latest")
    return "; ".join(said)


def unheard(slot: SlotView) -> str:
    """One line on why a slot whose worker beats is given no work; empty if it hears its doorbells."""
    return "" if slot.deaf is None else f"{slot.deaf.reason}: its worker has to restart"


def reserved(slot: SlotView) -> str:
    """One line on the time for which a slot is reserved, now or next; empty if it is not."""
    time = slot.reservation
    if time is None:
        return ""
    whose = f" for project {time.project}" if time.project else ""
    note = f": {time.note}" if time.note else ""
    start, end = (local_time(moment) for moment in (time.starts_at, time.ends_at))
    return f"reserved from {start} until {end} by {time.by}{whose}{note}"
