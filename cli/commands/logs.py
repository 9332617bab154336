"""`tx81 logs`: a log as the tool wrote it, or some of its lines, with the time of each."""

import os
import re
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Annotated, TextIO

from cyclopts import Parameter, validators

from api.client.client import ApiError, Client
from api.documents.logs import LogTimeView
from cli.commands.cached import job_that_ran
from cli.input.times import since as since_when
from cli.pages.layout import local_time
from cli.session import HERE, Exit, Session, Stop, hint
from cli.terminal import LogScreen

Piece = tuple[int | None, bytes]
"""Bytes of a log, and the offset of the first; None if they have arrived just now."""


def logs(
    job: int,
    /,
    *,
    follow: Annotated[bool, Parameter(name=["--follow", "-f"], negative="")] = False,
    attempt: int | None = None,
    tail: Annotated[int | None, Parameter(name=["--tail", "-n"], validator=validators.Number(gte=0))] = None,
    since: str | None = None,
    grep: str | None = None,
    timestamps: Annotated[bool, Parameter(name=["--timestamps", "-t"], negative="")] = False,
    session: Session = HERE,
) -> Exit:
    """Print a job's log, as the tool wrote it.

    Parameters
    ----------
    follow
        Follow until the job has ended; a broken connection resumes where it stopped.
    attempt
        Number of the attempt. Default: the latest.
    tail
        Only this many lines from the end.
    since
        Only what was written since then: 10m (ago), 14:00 (the latest), or '2026-03-01 14:00'.
    grep
        Of these, only lines that match this regular expression.
    timestamps
        Begin each line with the time at which it arrived, to about a second.
    """
    chosen = _Chosen(
        attempt, tail, None if since is None else since_when(since, "--since", now=datetime.now(UTC)),
        None if grep is None else _pattern(grep), timestamps,
    )  # fmt: skip
    with session.client() as client:
        try:
            try:
                _print(client, job, chosen, session, follow=follow)
            except ApiError as refused:
                if attempt is not None:
                    raise
                _print(client, job_that_ran(client, job, "logs", refused), chosen, session, follow=follow)
        except KeyboardInterrupt:
            raise Stop(f"detached; the job continues. To follow it again: tx81 logs -f {job}", Exit.DETACHED) from None
    return Exit.OK


def _print(client: Client, job: int, chosen: "_Chosen", session: Session, *, follow: bool) -> None:
    pieces = chosen.pieces(client, job, follow=follow)
    if session.as_json:
        text = b"".join(pieces).decode(errors="replace")
        session.emit({"job": job, "attempt": chosen.attempt, "log": text}, "")
    else:
        _copy_log(pieces, sys.stdout)


def log_followed(client: Client, job: int) -> None:
    """Print a job's log as it grows, on standard error, until the job has ended; `Stop` on Ctrl-C.

    A job that ends without having run has none: one line says why."""
    try:
        _copy_log((raw for _, raw in _growing(client, job, None, 0)), sys.stderr)
    except ApiError as refused:
        if refused.status != HTTPStatus.NOT_FOUND:
            raise
        hint(str(refused))
    except KeyboardInterrupt:
        raise Stop(f"detached; the job continues. To follow it again: tx81 logs -f {job}", Exit.DETACHED) from None


@dataclass(frozen=True)
class _Chosen:
    """Which part of a log is printed, and how."""

    attempt: int | None
    tail: int | None
    since: datetime | None
    pattern: re.Pattern[bytes] | None
    timestamps: bool

    def pieces(self, client: Client, job: int, *, follow: bool) -> Iterator[bytes]:
        """What to print, piece by piece."""
        times: Sequence[LogTimeView] = ()
        if self.since is not None or self.timestamps:
            times = client.log_times(job, self.attempt).items
            if not times:
                hint(f"no times are known of the log of job {job}")
        begin = _begin(times, self.since)
        if begin is None:
            begin = client.log_tail(job, 0, self.attempt).offset
        found = _read(client, job, self, begin, follow=follow)
        if self.pattern is None and not self.timestamps:
            return (raw for _, raw in found)
        return self._lines(found, times)

    def _lines(self, found: Iterable[Piece], times: Sequence[LogTimeView]) -> Iterator[bytes]:
        for offset, line in _split(found):
            if self.pattern is None or self.pattern.search(line):
                yield (_stamp(offset, times) if self.timestamps else b"") + line


def _read(client: Client, job: int, chosen: _Chosen, begin: int, *, follow: bool) -> Iterator[Piece]:
    """The log from byte `begin` on, or its last lines, and what is added to it."""
    if chosen.tail is not None:
        last = client.log_tail(job, chosen.tail, chosen.attempt)
        start = last.offset - len(last.content)
        yield max(start, begin), last.content[max(begin - start, 0) :]
        if follow:
            yield from _growing(client, job, last.attempt, max(last.offset, begin))
    elif follow:
        yield from _growing(client, job, chosen.attempt, begin)
    else:
        at = 0
        for raw in client.log(job, chosen.attempt):
            if at + len(raw) > begin:
                yield max(at, begin), raw[max(begin - at, 0) :]
            at += len(raw)


def _growing(client: Client, job: int, attempt: int | None, offset: int) -> Iterator[Piece]:
    """What is added to a log until its job has ended; ApiError if the job has no attempt then."""
    first, known = None, datetime.now(UTC)
    for piece in client.stream_log(job, offset, attempt):
        raw = piece.text.encode("utf-8", "surrogateescape")
        first = first or piece.attempt
        # What is sent at once was there before; of later pieces the time is now.
        old = piece.attempt == first and (datetime.now(UTC) - known).total_seconds() < 1
        yield (max(piece.offset - len(raw), 0) if old else None), raw
    if first is None:
        client.log_tail(job, 0, attempt)  # refused, with the reason, if the job has ended and never ran


def _begin(times: Sequence[LogTimeView], since: datetime | None) -> int | None:
    """From which byte on a log was written since then; None if nothing was."""
    if since is None or not times:
        return 0
    return next((each.offset for each in times if each.at >= since), None)


def _split(found: Iterable[Piece]) -> Iterator[Piece]:
    """Lines, each with its end, and with the offset of its first byte."""
    begun: Piece = (None, b"")
    for offset, raw in found:
        start = offset
        for line in _by_newline(raw):
            begun = (begun[0], begun[1] + line) if begun[1] else (start, line)
            start = None if start is None else start + len(line)
            if line.endswith(b"\n"):
                yield begun
                begun = (None, b"")
    if begun[1]:
        yield begun


def _by_newline(raw: bytes) -> list[bytes]:
    """Only \\n ends a line: a progress bar is one."""
    *whole, rest = raw.split(b"\n")
    return [line + b"\n" for line in whole] + ([rest] if rest else [])


def _stamp(offset: int | None, times: Sequence[LogTimeView]) -> bytes:
    if offset is None:
        at = datetime.now(UTC)
    else:
        place = bisect_right([each.offset for each in times], offset)
        if place == 0:
            return b"?  "
        at = times[place - 1].at
    return f"{local_time(at, 'seconds')}  ".encode()


def _pattern(text: str) -> re.Pattern[bytes]:
    try:
        return re.compile(text.encode())
    except re.error as trouble:
        raise Stop(f"--grep: {text!r} is not a regular expression: {trouble}") from None


def _copy_log(pieces: Iterable[bytes], stream: TextIO) -> None:
    """Byte by byte into a file or a pipe; on a terminal only text and its colours."""
    if not stream.isatty():
        for piece in pieces:
            stream.buffer.write(piece)
            stream.buffer.flush()
        return
    screen = LogScreen(colours="NO_COLOR" not in os.environ)
    try:
        for piece in pieces:
            stream.write(screen.shown(piece))
            stream.flush()
    finally:
        stream.write(screen.shown(b"", final=True))
        stream.flush()
