"""How one slot looks on a terminal: why it is out of service, what was tried there, and its canaries. Pure."""

from collections.abc import Mapping
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.documents.slots import SlotHistory, SlotView
from cli.pages.jobs import failure_line, telemetry_table
from cli.pages.layout import clean, local_time, row, table
from cli.pages.slots import out_of_service, unheard
from orchestrator.model.lacks import DISK, PORT
from orchestrator.model.states import ServiceState


def slot_page(slot: SlotHistory) -> RenderableType:
    """Everything that is known of one slot, on one page."""
    parts: list[RenderableType] = [Text(f"{slot.id}  {slot.service_state}, {slot.presence}, {slot.occupancy}")]
    if why := out_of_service(slot):
        parts.append(Text(f"  {clean(why)}", style="red"))
    if slot.service_state is ServiceState.QUARANTINED:
        by_hand = slot.quarantined_because is not None and slot.quarantined_because.by is not None
        canary = "" if by_hand or not slot.cards else f"a canary that passes (tx81 canary run {slot.id}), or by "
        ways = f"{canary}a person (tx81 slots resume {slot.id})"
        parts.append(Text(f"  back to service by {clean(ways)}"))
    if said := unheard(slot):
        parts.append(Text(f"  {clean(said)}", style="red"))
    if slot.resume_requested is not None:
        parts.append(Text(f"  {clean(slot.resume_requested.by)} requested resume: its worker checks the cards first"))
    elif said := refused(slot):
        parts.append(Text(f"  {clean(said)}", style="red"))
    parts += [Text(f"  excluded for {_needing(name)}: {clean(lack.why)}") for name, lack in slot.lacks.items()]
    if slot.misrouted_bells:
        parts.append(Text(f"  doorbells for other slots, dropped: {slot.misrouted_bells}"))
    counted = f", from attempts {', '.join(map(str, slot.counted))}" if slot.counted else ""
    parts.append(Text(f"  suspicion {slot.score:.2f} of {slot.suspect_at:g}{counted}"))
    if slot.quarantined_because is not None and slot.quarantined_because.evidence:
        parts += [Text("\nevidence", style="bold"), _evidence(slot.quarantined_because.evidence)]
    if slot.history:
        parts += [Text("\nhistory", style="bold"), _history(slot)]
    if slot.recent:
        parts += [Text("\nlatest attempts", style="bold"), _recent(slot)]
    if measured := {tried.id: tried.telemetry for tried in slot.recent if tried.telemetry is not None}:
        parts += [Text("\ncards during the latest attempts", style="bold"), telemetry_table(measured)]
    if slot.canaries:
        parts += [Text("\ncanaries", style="bold"), _canaries(slot)]
    return Group(*parts)


def _needing(lack: str) -> str:
    """Which jobs are kept away by a lack of this name."""
    return {DISK: "all jobs", PORT: "servers"}.get(lack, f"jobs of release {clean(lack)}")


def refused(slot: SlotView) -> str:
    """Why its worker refused to resume it; empty if it did not."""
    because = slot.quarantined_because
    found = because.resume_refused if because is not None else None
    return f"resume refused: {found.get('reason')}" if found else ""


def _evidence(evidence: Mapping[str, Any]) -> Table:
    shown = table("what", "seen")
    for name, seen in evidence.items():
        for entry in _entries(seen):
            told = ", ".join(f"{key} {value}" for key, value in entry.items()) if isinstance(entry, dict) else entry
            row(shown, name, told)
    return shown


def _entries(seen: Any) -> list[Any]:
    """One a line; plain numbers and words of a list share one."""
    if not isinstance(seen, list):
        return [seen]
    return seen if any(isinstance(entry, dict) for entry in seen) else [", ".join(map(str, seen))]


def _history(slot: SlotHistory) -> Table:
    shown = table("at", "what", "by", "job", "why", right={"job"})
    for event in slot.history:
        row(shown, local_time(event.at, "seconds"), event.what, event.by, event.job_id, event.why)
    return shown


def _recent(slot: SlotHistory) -> Table:
    shown = table("attempt", "job", "name", "kind", "state", "ended", "why", right={"attempt", "job"})
    for tried in slot.recent:
        why = failure_line(tried.failure) if tried.failure else ""
        ended = local_time(tried.ended_at, "seconds") if tried.ended_at else ""
        row(shown, tried.id, tried.job.id, tried.job.name, tried.job.kind, tried.state, ended, why)
    return shown


def _canaries(slot: SlotHistory) -> Table:
    shown = table("job", "state", "since", "why", right={"job"})
    for run in slot.canaries:
        why = failure_line(run.failure) if run.failure else ""
        row(shown, run.id, run.state, local_time(run.created_at, "seconds"), why)
    return shown
