"""How batches look on a terminal. Pure: it prints nothing."""

from collections.abc import Iterable

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.documents.batches import BatchDetail, BatchView
from cli.pages.layout import Times, both, clean, counted, facts, heading, progress_of, row, table, when
from orchestrator.model.batch_report import DeviceTime, OddGroup, SlotLine
from orchestrator.results.majority import Agreement, differences


def batches_table(batches: Iterable[BatchView], times: Times = "relative") -> Table:
    """Batches, one a line, with their jobs counted by state."""
    columns = ("batch", "name", "project", "user", "state", "ended", "jobs", "submitted", "why")
    shown = table(*columns, right={"batch", "ended"})
    for batch in batches:
        row(
            shown, batch.id, batch.name, batch.project, batch.submitted_by, batch.state,
            progress_of(batch.counts, batch.size), counted(batch.counts), when(batch.created_at, times),
            batch.stop.reason if batch.stop else "",
        )  # fmt: skip
    return shown


def batch_page(batch: BatchDetail) -> RenderableType:
    """Everything worth knowing of a batch, on one page."""
    parts: list[RenderableType] = [heading(f"batch {batch.id}", batch.name, batch.state), facts(_about(batch))]
    if batch.slots:
        parts += [_title("slots"), _slots(batch.slots)]
    if batch.odd_groups:
        parts += [_title("card groups that differ from the others"), _odd(batch.odd_groups)]
    if batch.device_times:
        parts += [_title("where the time of each slot went, in percent"), _times(batch.device_times)]
    if batch.first_faults:
        faults = table("job", "name", "slot", "why", right={"job"})
        for fault in batch.first_faults:
            quarantined = " (slot quarantined)" if fault.quarantined else ""
            row(faults, fault.job_id, fault.name, fault.slot_id, f"{fault.reason}{quarantined}")
        parts += [_title(_of("infrastructure faults", len(batch.first_faults), batch.faults)), faults]
    if batch.first_failures:
        failed = table("job", "name", "slot", "kind", "why", right={"job"})
        for job in batch.first_failures:
            row(failed, job.job_id, job.name, job.slot_id, job.kind, job.reason)
        parts += [_title("first failed jobs"), failed]
    return Group(*parts)


def _about(batch: BatchDetail) -> dict[str, object]:
    return {
        "project": batch.project,
        "submitted by": batch.submitted_by,
        "submitted": both(batch.created_at),
        "ended": batch.ended_at and both(batch.ended_at),
        "jobs": f"{counted(batch.counts)} of {batch.size}",
        "stop on": batch.stop_on,
        "stopped": batch.stop.reason if batch.stop else None,
        "left out": ", ".join(f"{slot} {why}" for slot, why in batch.left_out.items()),
        "failures": ", ".join(f"{count} {kind}" for kind, count in batch.failures.items()),
        "faults": batch.faults or None,
        "in doubt": batch.doubtful or None,
        "agreement": _agreement(batch.agreement),
    }


def _agreement(found: Agreement) -> str | None:
    if not found.prompts:
        return None
    return "; ".join(differences(found)) or f"all slots give the same answers to all {found.prompts} prompts"


def _slots(slots: Iterable[SlotLine]) -> Table:
    numbers = ("jobs", "failures", "faults", "p50 s", "p95 s", "max s", "exact", "differs")
    shown = table("slot", *numbers, right=set(numbers))
    for line in slots:
        exact = "" if line.compared is None else f"{line.exact}/{line.compared}"
        times = (line.seconds_p50, line.seconds_p95, line.seconds_max)
        seconds = ("" if value is None else f"{value:.2f}" for value in times)
        row(shown, line.slot_id, line.jobs, line.failures, line.faults, *seconds, exact, line.odd_prompts or "")
    return shown


def _odd(groups: Iterable[OddGroup]) -> Table:
    shown = table("slot", "cards", "verdict", "why")
    for odd in groups:
        row(shown, odd.slot_id, ",".join(map(str, odd.cards)), odd.verdict, odd.why)
    return shown


def _times(times: Iterable[DeviceTime]) -> Table:
    parts = ("productive", "warm_up", "lost", "reserved", "broken", "waiting")
    shown = table("slot", "seconds", *(part.replace("_", "-") for part in parts), right={"seconds", *parts, "warm-up"})
    for each in times:
        shares = (getattr(each, part) / each.seconds if each.seconds else 0.0 for part in parts)
        row(shown, each.slot_id, f"{each.seconds:.0f}", *(f"{share:.0%}" for share in shares))
    return shown


def _of(what: str, shown: int, all_of_them: int) -> str:
    return what if shown == all_of_them else f"{what}, the first {shown} of {all_of_them}"


def _title(text: str) -> Text:
    return Text(f"\n{clean(text)}", style="bold")
