"""The end of a log as text that a page can show."""

import re

from api.context import Context
from orchestrator.errors import NotFound
from orchestrator.jobs import queries
from orchestrator.storage.attempt_logs import AttemptLog

LINES = 200
MOST_CHARACTERS = 40_000
"""Of the end of a log on the page of its job, which has 150 KB at most; escaped text may be longer."""

_COLOURS = re.compile(r"\x1b\[[0-?]*[ -/]*[@-~]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)")
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069]")


def end_of_log(context: Context, job: int) -> str | None:
    """The last lines that the latest attempt has logged; None if there was no attempt."""
    try:
        with context.database.read() as session:
            tried = queries.attempt(session, job, None)
    except NotFound:
        return None
    _, content = AttemptLog(context.database, context.store, tried.id).tail(LINES)
    return readable(content.decode("utf-8", "replace"))[-MOST_CHARACTERS:]


def readable(text: str) -> str:
    """Without colours, of progress that overwrites its line the last state, other control characters as signs."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in _COLOURS.sub("", text).split("\n"))
    return "\n".join(_CONTROL.sub("\N{REPLACEMENT CHARACTER}", line) for line in lines)
