"""How doubts look on a terminal. Pure: it prints nothing."""

from collections.abc import Iterable

from rich.table import Table

from api.documents.doubts import DoubtView
from cli.pages.layout import local_time, row, table
from orchestrator.model.orders import ordered_by


def doubts_table(doubts: Iterable[DoubtView]) -> Table:
    """Doubts, one a line: whose results are not used, and why."""
    shown = table("doubt", "job", "name", "slot", "since", "why", "lifted", right={"doubt", "job"})
    for each in doubts:
        lifted = ordered_by("yes", each.lifted.by, each.lifted.note) if each.lifted else ""
        why = f"{_words(each)}: {each.evidence.get('reason', '')}"
        row(shown, each.id, each.job_id, each.job_name, each.slot_id, local_time(each.at), why, lifted)
    return shown


def doubt_line(doubt: DoubtView) -> str:
    """Why results are not used, in one line."""
    by = doubt.evidence.get("job_id")
    source = f" by job {by}" if by else ""
    return f"not used: {_words(doubt)} on {doubt.slot_id}{source}; lift it with: tx81 doubts lift {doubt.id}"


def _words(doubt: DoubtView) -> str:
    return doubt.reason.replace("_", " ")
