"""The client's calls about logs."""

import json
from collections.abc import Iterator
from dataclasses import dataclass

from api.client.connection import Calls, segment
from api.documents.logs import LogError, LogLines, LogMatches, LogTimes


@dataclass(frozen=True)
class LogPiece:
    """Text of an attempt's log; `offset` is the byte after it, from which reading can continue."""

    attempt: int
    offset: int
    text: str


@dataclass(frozen=True)
class LogTail:
    """The last bytes of an attempt's log; `offset` is the byte after them, where `stream_log` continues."""

    content: bytes
    offset: int
    attempt: int


class LogCalls(Calls):
    """One method per route; every `Client` has them."""

    def log(self, job: int, attempt: int | None = None) -> Iterator[bytes]:
        """The log of the latest attempt, or of attempt number `attempt`, as the tool wrote it."""
        return self._connection.bytes(f"/jobs/{segment(job)}/log", {"attempt": attempt})

    def log_tail(self, job: int, lines: int, attempt: int | None = None) -> LogTail:
        """The last lines of a log, and the position from which to follow it."""
        answer = self._connection.get(f"/jobs/{segment(job)}/log", {"tail": lines, "attempt": attempt})
        return LogTail(
            answer.content, int(answer.headers["Log-Offset"]) + len(answer.content), int(answer.headers["Log-Attempt"])
        )

    def log_times(self, job: int, attempt: int | None = None) -> LogTimes:
        """When which part of a log was written."""
        return LogTimes.model_validate(
            self._connection.get(f"/jobs/{segment(job)}/log/times", {"attempt": attempt}).json()
        )

    def log_lines(self, job: int, attempt: int | None = None, **window: int) -> LogLines:
        """Lines by their numbers: `from_line` or `before`, and `limit`; without them the last ones."""
        asked = {"attempt": attempt, **window}
        return LogLines.model_validate(self._connection.get(f"/jobs/{segment(job)}/log/lines", asked).json())

    def search_log(
        self, job: int, q: str, attempt: int | None = None, *, regex: bool = False, case: bool = False, near: int = 1
    ) -> LogMatches:
        """Lines of a whole log with a text or a regular expression."""
        asked = {"q": q, "attempt": attempt, "regex": regex, "case": case, "near": near}
        return LogMatches.model_validate(self._connection.get(f"/jobs/{segment(job)}/log/search", asked).json())

    def first_error(self, job: int, attempt: int | None = None) -> LogError:
        """The first line of a log that says what went wrong."""
        asked = {"attempt": attempt}
        return LogError.model_validate(self._connection.get(f"/jobs/{segment(job)}/log/first-error", asked).json())

    def stream_log(self, job: int, offset: int = 0, attempt: int | None = None) -> Iterator[LogPiece]:
        """The log as it grows, until the job has ended, resuming by itself after a broken connection.

        Starts in the latest attempt, or in attempt number `attempt`, and continues with later ones.
        """
        for event in self._connection.follow(f"/jobs/{segment(job)}/log/stream", {}, f"{attempt or 0}:{offset}"):
            if event.event == "end":
                return
            if event.event == "message" and event.data:
                number, _, after = event.id.partition(":")
                yield LogPiece(int(number), int(after), json.loads(event.data)["text"])
