"""The log of an attempt: a window of its lines at a time, its colours, and where it is searched and downloaded."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import Query, Request, Response

from api.context import Context, Given
from api.documents.jobs import JobDetail
from api.documents.logs import LogLines
from api.pages.guard import pages
from api.pages.rendering import render
from api.pages.terminal import Shown, Terminal
from api.parameters import Integer, Number, NumberFilter
from api.routes import jobs, logs
from api.routes.logs import LineNumber
from orchestrator.errors import NotFound
from orchestrator.model.states import ATTEMPT_TRANSITIONS
from orchestrator.storage.log_windows import MOST_LINES
from orchestrator.storage.logs import DamagedLog

router = pages()

WINDOW = 200
"""Lines of the first window; the script asks for more as it is scrolled."""

END = 40
"""Lines on the page of a job."""


@dataclass(frozen=True)
class Chunk:
    """Consecutive lines as they are shown."""

    job: int
    lines: LogLines
    shown: Sequence[Shown]

    @property
    def over(self) -> bool:
        """Whether the log is complete."""
        return not ATTEMPT_TRANSITIONS[self.lines.state]

    @property
    def address(self) -> str:
        """Of the whole log on a page."""
        return f"/jobs/{self.job}/log?{urlencode({'attempt': self.lines.attempt})}"


@router.get("/jobs/{job}/log")
def show_log(
    job: Number,
    context: Given,
    request: Request,
    attempt: NumberFilter | None = None,
    q: Annotated[str | None, Query(max_length=500)] = None,
    regex: bool = False,
    case: bool = False,
) -> Response:
    """The log of the latest attempt, or of attempt number `attempt`; the script searches it for `q`."""
    detail = jobs.show(job, context, Response())
    assert isinstance(detail, JobDetail)  # without If-None-Match it is never 304
    if attempt is not None or detail.attempts:
        chunk = _chunk(job, logs.log_lines(job, context, attempt, limit=WINDOW))
    else:
        chunk = None
    asked = {"q": q or "", "regex": regex, "case": case}
    return render(request, "log.html", job=detail, chunk=chunk, asked=asked)


@router.get("/jobs/{job}/log/lines")
def show_lines(
    job: Number,
    context: Given,
    request: Request,
    attempt: NumberFilter | None = None,
    from_line: LineNumber | None = None,
    before: LineNumber | None = None,
    limit: Annotated[Integer, Query(ge=1, le=MOST_LINES)] = WINDOW,
) -> Response:
    """A window of lines, for the page to put in place."""
    found = logs.log_lines(job, context, attempt, from_line, before, limit)
    return render(request, "log_chunk.html", chunk=_chunk(job, found))


def end_of_log(context: Context, job: int) -> Chunk | None:
    """The last lines that the latest attempt has logged; None if there was no attempt, or its log cannot be read."""
    try:
        return _chunk(job, logs.log_lines(job, context, limit=END))
    except (NotFound, DamagedLog):
        return None


def _chunk(job: int, found: LogLines) -> Chunk:
    return Chunk(job, found, Terminal().shown(line.text for line in found.items))
