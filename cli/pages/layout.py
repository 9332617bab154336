"""How things look on a terminal: tables and pages from what the API answers. Pure: it prints nothing.

Text from outside (names, reasons, answers) is never read as markup, and its control characters are shown, not sent to
the terminal.
"""

from collections.abc import Mapping, Set
from datetime import UTC, datetime
from typing import Any, Literal

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from cli.terminal import visible
from orchestrator.model.states import FINAL, JobState

Times = Literal["relative", "absolute"]
"""How lists show times."""

_STYLE: Mapping[str, str] = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "skipped": "yellow",
    "running": "cyan",
    "assigned": "cyan",
    "alive": "green",
    "deaf": "red",
    "lost": "red",
    "stopped": "red",
    "quarantined": "red",
    "draining": "yellow",
    "drained": "yellow",
    "done": "green",
    "refused": "red",
    "better": "green",
    "worse": "red",
    "unknown": "yellow",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
    "same": "green",
    "infrastructure": "red",
    "missing": "yellow",
    "not_comparable": "yellow",
    "known": "yellow",
}


def size(count: int) -> str:
    """Bytes as a person reads them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def short(digest: str) -> str:
    """Enough of a digest to tell two apart."""
    return digest[:19]


def clean(text: object) -> str:
    """Text in which a control character is visible instead of obeyed by the terminal; line breaks stay."""
    return visible(str(text))


def heading(number: str, name: str, state: str) -> Text:
    """The first line of a page: which thing it is about, and where that stands."""
    return Text.assemble(f"{number}  {clean(name)}  ", _cell(state))


def _section(title: str, body: RenderableType) -> list[RenderableType]:
    return [Text(f"\n{title}", style="bold"), body]


def facts(told: Mapping[str, Any]) -> Table:
    """Names and values, one a line, without those that have none."""
    shown = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in told.items():
        if value not in (None, ""):
            shown.add_row(Text(f"  {name}", style="dim"), Text(clean(value)))
    return shown


def table(*columns: str, right: Set[str] = frozenset()) -> Table:
    """An empty listing with these columns, those in `right` aligned for numbers."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return shown


def row(shown: Table, *cells: object) -> None:
    """Add a line; states are coloured, nothing is read as markup."""
    shown.add_row(*(_cell(cell) for cell in cells))


def _cell(value: object) -> Text:
    text = "" if value is None else clean(value)
    return Text(text, style=_STYLE.get(text, ""))


def counted(counts: Mapping[JobState, int]) -> str:
    """How many jobs are in which state: "3 succeeded, 1 failed"."""
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"


def progress_of(counts: Mapping[JobState, int], size: int | None = None) -> str:
    """How many jobs have ended, of all: "3/8"."""
    ended = sum(count for state, count in counts.items() if state in FINAL)
    return f"{ended}/{sum(counts.values()) if size is None else size}"


def local_time(moment: datetime, timespec: str = "minutes") -> str:
    """A moment in the time zone of this machine, with its offset: 2026-03-01 14:00+08:00, which options take too."""
    return moment.astimezone().isoformat(sep=" ", timespec=timespec)


def when(moment: datetime, times: Times = "relative") -> str:
    """A moment of the past as a list shows it: "5 min ago", or absolute with its zone."""
    return ago(moment) if times == "relative" else local_time(moment, "seconds")


def both(moment: datetime) -> str:
    """A moment of the past, absolute and relative."""
    return f"{local_time(moment, 'seconds')} ({ago(moment)})"


def ago(moment: datetime) -> str:
    """How long ago it was: "5 min ago"."""

    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"
