"""What came out of a job, as members of its bundle: attempts with logs, black boxes, answers and events."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from orchestrator.handover.archive import ArchiveMember, safe_name
from orchestrator.handover.facts import Handover
from orchestrator.handover.members import Making, Pieces
from orchestrator.jobs import queries
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.attempt_logs import AttemptLog
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Answer, Artifact, Attempt

MOST_LOG_BYTES = 16 << 20
"""Of one log: of a longer one the first MiB and the last 15 are kept."""

MOST_ANSWER_BYTES = 128 << 20
"""Of all answers of an attempt."""

MOST_EVENTS = 10_000

_HEAD = 1 << 20
_PIECE = 1 << 18
_PAGE = 200
_LOGS = ("vendor_log", "txda_log")
_ANSWER = (
    "repeat", "index", "batch", "batch_size", "question", "text", "golden", "exact", "prompt_tokens", "output_tokens",
    "seconds", "ttft_seconds", "finish_reason",
)  # fmt: skip


class Outcome:
    """The outcome of one job."""

    def __init__(self, database: Database, store: ArtifactStore, making: Making, handover: Handover) -> None:
        self._database = database
        self._store = store
        self._making = making
        self._handover = handover

    def attempt(self, attempt: Attempt) -> Iterator[ArchiveMember]:
        """All that one attempt has left."""
        making, folder = self._making, f"attempts/{attempt.number}"
        columns = {column.name: getattr(attempt, column.name) for column in attempt.__table__.columns}
        yield making.of_json(f"{folder}/attempt.json", columns)
        yield making.of_pieces(f"{folder}/log.txt", lambda: making.redactor.pieces(self._log(attempt.id, folder)))
        for row in (each for each in self._handover.ran.outputs if each.attempt_id == attempt.id):
            if row.name == "black_box":
                yield making.of_pieces(f"{folder}/black_box.json", self._black_box(row))
            elif row.name.startswith(_LOGS) and not row.tree:
                yield self._vendor_log(folder, row)
        yield making.of_json(f"{folder}/metrics.json", self._metrics(attempt.id))
        yield making.of_pieces(f"{folder}/answers.jsonl", lambda: self._answers(attempt.id, folder))
        yield making.of_pieces(f"{folder}/golden_diff.jsonl", lambda: self._differences(attempt.id, folder))

    def events(self) -> Iterator[bytes]:
        """The events of the job, and of the one whose result it took, oldest first."""
        jobs = sorted({self._handover.facts.listed.job.id, self._handover.ran.listed.job.id})
        names = ("id", "at", "kind", "job_id", "attempt_id", "slot_id", "data")
        after, written = 0, 0
        while written < MOST_EVENTS:
            with self._database.read() as session:
                rows = queries.events(session, after=after, limit=_PAGE, jobs=jobs)
            for row in rows:
                yield self._making.document({name: getattr(row, name) for name in names})
            written += len(rows)
            if len(rows) < _PAGE:
                return
            after = rows[-1].id
        self._making.leave_out("events.jsonl", f"events beyond the first {MOST_EVENTS}")

    def _log(self, attempt_id: int, folder: str) -> Iterator[bytes]:
        log = AttemptLog(self._database, self._store, attempt_id)
        yield from self._bounded(log.read, log.size(), f"{folder}/log.txt")

    def _bounded(self, read: Callable[[int, int], bytes], size: int, path: str) -> Iterator[bytes]:
        """All of a log, or its beginning and its end."""
        skip = max(0, size - MOST_LOG_BYTES)
        if skip:
            self._making.leave_out(path, f"{skip} bytes in the middle of {size}")
        offset = 0
        while offset < size:
            if skip and offset == _HEAD:
                yield f"\n[{skip} bytes are left out here]\n".encode()
                offset += skip
            stop = _HEAD if skip and offset < _HEAD else size
            piece = read(offset, min(_PIECE, stop - offset))
            if not piece:
                return
            yield piece
            offset += len(piece)

    def _vendor_log(self, folder: str, row: Artifact) -> ArchiveMember:
        path = f"{folder}/{safe_name(row.name)}_{safe_name(row.file_name)}"

        def read(offset: int, length: int) -> bytes:
            with self._store.open(row.digest) as stored:
                stored.seek(offset)
                return stored.read(length)

        making = self._making
        return making.of_pieces(path, lambda: making.redactor.pieces(self._bounded(read, row.size, path)))

    def _black_box(self, row: Artifact) -> Callable[[], Pieces]:
        def pieces() -> Pieces:
            with self._store.open(row.digest) as stored:
                return [self._making.document(json.loads(stored.read(MOST_LOG_BYTES)), indent=1)]

        return pieces

    def _metrics(self, attempt_id: int) -> list[dict[str, Any]]:
        names = ("name", "value", "unit", "definition", "count", "counter")
        rows = [row for row in self._handover.ran.metrics if row.attempt_id == attempt_id]
        return [{name: getattr(row, name) for name in names} for row in rows]

    def _rows(self, attempt_id: int) -> Iterator[Answer]:
        after: tuple[int, ...] | None = None
        while True:
            with self._database.read() as session:
                rows = queries.answers(session, attempt_id, limit=_PAGE, after=after)
            yield from rows
            if len(rows) < _PAGE:
                return
            after = (rows[-1].repeat, rows[-1].index, rows[-1].batch)

    def _answers(self, attempt_id: int, folder: str) -> Iterator[bytes]:
        rows = ({name: getattr(row, name) for name in _ANSWER} for row in self._rows(attempt_id))
        yield from self._lines(rows, f"{folder}/answers.jsonl")

    def _differences(self, attempt_id: int, folder: str) -> Iterator[bytes]:
        yield from self._lines(
            (
                {
                    "repeat": row.repeat, "index": row.index, "batch": row.batch, "question": row.question,
                    "golden": row.golden, "answer": row.text,
                    "first_difference": _first_difference(row.golden or "", row.text),
                }
                for row in self._rows(attempt_id)
                if row.exact is False
            ),
            f"{folder}/golden_diff.jsonl",
        )  # fmt: skip

    def _lines(self, documents: Iterator[dict[str, Any]], path: str) -> Iterator[bytes]:
        written = 0
        for document in documents:
            line = self._making.exactly(document)
            written += len(line)
            if written > MOST_ANSWER_BYTES:
                self._making.leave_out(path, f"answers beyond {MOST_ANSWER_BYTES} bytes")
                return
            yield line


def _first_difference(one: str, other: str) -> int:
    """Characters that both begin with."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((place for place, (left, right) in pairs if left != right), min(len(one), len(other)))
