"""Cards that the tool of another attempt of this host has open: which attempt it is.

Such a tool is stopped by its own worker (`wrong_cards`), and its cards are free again when it has ended. So it is no
evidence against the slot whose cards it opened, nor against the job that runs there.
"""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import psutil
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.settings import Settings
from orchestrator.slots import presence
from orchestrator.storage.database import Database
from workers.host import locks, open_files
from workers.host.probe import Finding, Holder
from workers.processes.container import MARK

_SLOT_LOCK = re.compile(r"(g|cpu)\d+\.lock")
_MOST_ENVIRONMENT = 1 << 20


def attributed(finding: Finding, settings: Settings, database: Database, *, own: Collection[str]) -> Finding:
    """The finding, each holder with the running attempt that it belongs to; those of the slots in `own` have none."""
    if not finding.holders:
        return finding
    known = {holder.pid: _attempt_of(holder, settings, database, own) for holder in finding.holders}
    holders = [replace(holder, attempt=known[holder.pid]) for holder in finding.holders]
    if any(known.values()):
        # A tool's short-lived children have ended by now, and hold nothing any more.
        holders = [one for one in holders if one.attempt is not None or Path(f"/proc/{one.pid}").exists()]
    return replace(finding, holders=tuple(holders))


def _attempt_of(holder: Holder, settings: Settings, database: Database, own: Collection[str]) -> str | None:
    slots = _slots_of(holder.pid, settings)
    if len(slots) != 1 or slots.intersection(own):
        return None
    (slot_id,) = slots
    # Without an answer it is a process like any other.
    with suppress(SQLAlchemyError), database.read() as session:
        running = presence.user_of(session, slot_id)
        return None if running is None else f"job {running.job_id} on {slot_id}"
    return None


def _slots_of(pid: int, settings: Settings) -> frozenset[str]:
    """The slot whose tool a process is: it or an ancestor has the lock of the slot; in a container it has a mark."""
    found = {path: open_files.identity(path) for path in settings.locks.iterdir() if _SLOT_LOCK.fullmatch(path.name)}
    files = {path: identity for path, identity in found.items() if identity is not None}
    line = _with_ancestors(pid)
    seen = open_files.look(files, line)
    for one in line:
        held = seen.opened.get(one, frozenset())
        if held:
            return frozenset(f"{settings.host}.{path.stem}" for path, identity in files.items() if identity in held)
    return _marked(pid, locks.domain(settings.locks))


def _with_ancestors(pid: int) -> list[int]:
    """The process, its parent and so on, without the first process of the machine."""
    with suppress(psutil.Error):
        return [pid, *(parent.pid for parent in psutil.Process(pid).parents() if parent.pid > 1)]
    return [pid]


def _marked(pid: int, domain: str) -> frozenset[str]:
    """The lead slot in the mark of a process of a container (`workers.processes.container.Mark`)."""
    try:
        with open(f"/proc/{pid}/environ", "rb") as environment:
            variables = environment.read(_MOST_ENVIRONMENT).split(b"\0")
    except OSError:
        return frozenset()
    marks = [text.decode("utf-8", "replace") for text in variables if text.startswith(MARK.encode() + b"=")]
    words = re.findall(rf"{re.escape(domain)}/([^,]+),", marks[0]) if marks else []
    return frozenset(words[1:2])
