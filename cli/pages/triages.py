"""A triage as a page: the verdict, its sentence, and the table it stands on."""

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.documents.triages import TriageRunView, TriageView
from cli.pages.layout import facts, row, short, table

_TITLES = {"elsewhere": "same kcore, other card group", "here": "last good kcore, this card group"}


def triage_page(triage: TriageView) -> RenderableType:
    """All of it."""
    verdict = triage.verdict or "running"
    shown = table("", "job", "slot", "kcore", "outcome", "right", "wrong", right={"job", "right", "wrong"})
    _line(shown, "asked about", triage.observed)
    for cell in triage.cells:
        for run in cell.runs:
            _line(shown, _TITLES[cell.name], run)
        if cell.absent:
            row(shown, _TITLES[cell.name], "", "", "", cell.absent)
    parts: list[RenderableType] = [
        Text(f"triage {triage.id} of job {triage.job_id} on {triage.slot_id}: {verdict}", style="bold"),
        facts({"why": triage.why, "batch": triage.batch_id}),
        Text(),
        shown,
    ]
    return Group(*parts)


def _line(shown: Table, title: str, run: TriageRunView) -> None:
    kcore = short(run.kcore) if run.kcore else None
    row(shown, title, run.job_id, run.slot_id, kcore, run.outcome or "not ended", run.right, run.wrong)
