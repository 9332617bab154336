"""Logs: any part of one, its end, or the whole while it grows."""

import re
from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import StreamingResponse
from fastapi.sse import EventSourceResponse, ServerSentEvent

from api.access import GuardedRoute
from api.context import Context, Given
from api.documents.logs import LogError, LogLines, LogLineView, LogMatches, LogTimes, LogTimeView
from api.http.ranges import in_parts, stream
from api.parameters import Integer, Number, NumberFilter, RangeHeader, ResumeAfter
from api.streams.logs import LogPosition
from api.streams.logs import log as following
from orchestrator.errors import BadRequest
from orchestrator.jobs import queries
from orchestrator.storage import live_logs, log_windows
from orchestrator.storage.attempt_logs import AttemptLog
from orchestrator.storage.log_search import FIRST_ERROR, LogQuery, search
from orchestrator.storage.log_windows import MOST_LINES
from orchestrator.strict_json import LARGEST_INTEGER

router = APIRouter(prefix="/jobs/{job}/log", tags=["logs"], route_class=GuardedRoute)

_TEXT = "text/plain; charset=utf-8"


@router.get("", response_class=StreamingResponse, responses=in_parts(_TEXT))
def read_log(
    job: Number,
    context: Given,
    attempt: NumberFilter | None = None,
    tail: Annotated[Integer | None, Query(ge=0, le=1_000_000, description="Only this many lines from the end.")] = None,
    range_: RangeHeader = None,
) -> Response:
    """The log of the latest attempt, or of attempt number `attempt`, byte for byte as the tool wrote it.

    `Log-Offset` is the offset of the first byte; the stream continues after the last one.
    """
    with context.database.read() as session:
        tried = queries.attempt(session, job, attempt)
    log = AttemptLog(context.database, context.store, tried.id)
    headers = {"Log-Attempt": str(tried.number), "X-Content-Type-Options": "nosniff"}
    if tail is None:
        return stream(log.read, log.size(), range_, headers, _TEXT)
    offset, content = log.tail(tail)
    return Response(content, media_type=_TEXT, headers={**headers, "Log-Offset": str(offset)})


@router.get("/times")
def log_times(job: Number, context: Given, attempt: NumberFilter | None = None) -> LogTimes:
    """When which part of a log was written, as its worker shipped it: about every second, and at most 500 times of a
    log that is complete. Empty for logs from before this was noted."""
    with context.database.read() as session:
        tried = queries.attempt(session, job, attempt)
        items = tuple(LogTimeView.model_validate(each) for each in live_logs.times(session, tried.id))
        return LogTimes(attempt=tried.number, items=items)


LineNumber = Annotated[Integer, Query(ge=1, le=LARGEST_INTEGER)]


@router.get("/lines")
def log_lines(
    job: Number,
    context: Given,
    attempt: NumberFilter | None = None,
    from_line: LineNumber | None = None,
    before: LineNumber | None = None,
    limit: Annotated[Integer, Query(ge=1, le=MOST_LINES)] = 200,
) -> LogLines:
    """Lines by their numbers: from `from_line` on, or those before line `before`, or the last ones; fewer than `limit`
    where they are long. `attempt` as for the whole log."""
    if from_line is not None and before is not None:
        raise BadRequest("give either from_line or before", field="before")
    tried, log = _log_of(job, context, attempt)
    if from_line is None:
        found = log_windows.lines_before(log, before, limit)
    else:
        found = log_windows.lines_from(log, from_line, limit)
    items = tuple(
        LogLineView(number=line.number, text=line.raw.decode("utf-8", "replace"), left_out=line.left_out)
        for line in found.lines
    )
    return LogLines(attempt=tried.number, state=tried.state, total=found.total, items=items)


@router.get("/search")
def search_log(
    job: Number,
    context: Given,
    q: Annotated[str, Query(min_length=1, max_length=500)],
    attempt: NumberFilter | None = None,
    regex: Annotated[bool, Query(description="`q` is a regular expression.")] = False,
    case: Annotated[bool, Query(description="Upper and lower case differ.")] = False,
    near: LineNumber = 1,
) -> LogMatches:
    """Lines of a whole log with a text or a regular expression, found within ten seconds."""
    tried, log = _log_of(job, context, attempt)
    found = search(log, LogQuery(q, regex, case), near=near)
    return LogMatches(
        attempt=tried.number, matches=found.matches, earlier=found.earlier, numbers=tuple(found.numbers),
        complete=found.complete,
    )  # fmt: skip


@router.get("/first-error")
def first_error(job: Number, context: Given, attempt: NumberFilter | None = None) -> LogError:
    """The first line that the failure's signature matches; without one, the first with an error, traceback or fatal."""
    tried, log = _log_of(job, context, attempt)
    with context.database.read() as session:
        signature = queries.failure_pattern(session, tried.id)
    for pattern in filter(None, (signature, FIRST_ERROR)):
        found = search(log, LogQuery(pattern, pattern=True, case=pattern is signature), first_only=True)
        if found.numbers:
            return LogError(attempt=tried.number, number=found.numbers[0], pattern=pattern)
    return LogError(attempt=tried.number, number=None, pattern=FIRST_ERROR)


def _log_of(job: int, context: Context, attempt: int | None) -> tuple[queries.TriedAttempt, AttemptLog]:
    with context.database.read() as session:
        row = queries.attempt(session, job, attempt)
        tried = queries.TriedAttempt(row.id, row.number, row.state)
    return tried, AttemptLog(context.database, context.store, tried.id)


def _start(
    job: Number,
    context: Given,
    attempt: NumberFilter | None = None,
    offset: Annotated[Integer, Query(ge=0, le=LARGEST_INTEGER)] = 0,
    resume: ResumeAfter = None,
) -> LogPosition:
    """Where to start. A dependency, because a stream that has started can no longer answer 404."""
    start = LogPosition(attempt or 0, offset) if resume is None else _resumed(resume)
    with context.database.read() as session:
        queries.job(session, job)
        if start.attempt:
            queries.attempt(session, job, start.attempt)
    return start


def _resumed(position: str) -> LogPosition:
    match = re.fullmatch(r"(?:(\d{1,9}):)?(\d{1,18})", position)
    if match is None:
        detail = "not a position in a log: send the `id` of an event unchanged"
        raise BadRequest(detail, field="Last-Event-ID")
    return LogPosition(int(match[1] or 0), int(match[2]))


@router.get("/stream", response_class=EventSourceResponse)
async def follow_log(
    job: Number, context: Given, start: Annotated[LogPosition, Depends(_start)]
) -> AsyncIterator[ServerSentEvent]:
    """The log as text while it grows, from the latest attempt on, until the job has ended.

    `id` is ATTEMPT:OFFSET of the next byte.
    Events without a name carry `text`; `attempt` means that another attempt begins, `end` that the stream is complete.
    """
    async for event in following(context.database, context.store, context.wakeups, job, start):
        yield event
