"""Some lines of a log by their numbers, whatever the size of the log and of its lines.

A window costs what it shows: the index of a sealed log, or the counts of a live log's pieces, say where its lines are.
"""

from dataclasses import dataclass

from orchestrator.storage.attempt_logs import AttemptLog

MOST_LINES = 500
MOST_BYTES = 32 * 1024
"""Of one window, so that a page of escaped text stays small."""

LONGEST = 8 * 1024
"""Bytes of a line beyond the size of a window that are given: its end, which is the last state of a progress bar."""


@dataclass(frozen=True)
class LogLine:
    """One line, without its newline; the first is number 1."""

    number: int
    raw: bytes
    left_out: int = 0
    """Bytes of its beginning that are not given, because it is too long."""


@dataclass(frozen=True)
class LogWindow:
    """Consecutive lines, and how many there are in all now."""

    lines: tuple[LogLine, ...]
    total: int


def lines_from(log: AttemptLog, first: int, count: int) -> LogWindow:
    """Up to `count` lines from number `first` on; fewer if they are long."""
    return _window(log, max(first, 1), max(first, 1) + count, forward=True)


def lines_before(log: AttemptLog, end: int | None, count: int) -> LogWindow:
    """Up to `count` lines before number `end`, or the last ones; fewer if they are long."""
    stop = log.lines() + 1 if end is None else max(end, 1)
    return _window(log, max(stop - count, 1), stop, forward=False)


def _window(log: AttemptLog, first: int, stop: int, *, forward: bool) -> LogWindow:
    total = log.lines()
    stop = min(stop, total + 1)
    if first >= stop:
        return LogWindow((), total)
    start, end = log.offset_of_line(first - 1), log.offset_of_line(stop - 1)
    if end - start <= MOST_BYTES:
        return LogWindow(_numbered(_read(log, start, end), first), total)
    if forward:
        whole, newline, _ = _read(log, start, start + MOST_BYTES).rpartition(b"\n")
        found = _numbered(whole + newline, first)
    else:
        rest = _read(log, end - MOST_BYTES, end).partition(b"\n")[2]
        found = _numbered(rest, stop - rest.count(b"\n") - (rest != b"" and not rest.endswith(b"\n")))
    return LogWindow(found or (_long_line(log, first if forward else stop - 1),), total)


def _long_line(log: AttemptLog, number: int) -> LogLine:
    start, end = log.offset_of_line(number - 1), log.offset_of_line(number)
    raw = _read(log, max(end - LONGEST, start), end).removesuffix(b"\n")
    return LogLine(number, raw, left_out=max(end - LONGEST - start, 0))


def _read(log: AttemptLog, start: int, end: int) -> bytes:
    return b"".join(raw for _, raw in log.pieces(start, end, MOST_BYTES))


def _numbered(raw: bytes, first: int) -> tuple[LogLine, ...]:
    lines = raw.removesuffix(b"\n").split(b"\n") if raw else []
    return tuple(LogLine(number, line) for number, line in enumerate(lines, first))
