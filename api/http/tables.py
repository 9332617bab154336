"""Rows as a file: CSV, JSON lines or Parquet, written piece by piece so that no table is held in memory."""

import csv
import io
import itertools
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

from orchestrator.errors import BadRequest

Row = Mapping[str, Any]

MEDIA_TYPES = {
    "csv": "text/csv; charset=utf-8; header=present",  # RFC 4180
    "jsonl": "application/jsonl",
    "parquet": "application/vnd.apache.parquet",
}

_ROW_GROUP = 5_000
"""Rows that are held in memory for a Parquet file."""


def written(rows: Iterable[Row], columns: Sequence[str], form: str) -> Iterator[bytes]:
    """The file of a form (`MEDIA_TYPES`) in pieces; without rows it has a header, or nothing.

    BadRequest for Parquet without pyarrow, before the first piece."""
    writers: dict[str, Callable[[Iterable[Row], Sequence[str]], Iterator[bytes]]] = {
        "csv": _csv, "jsonl": _json_lines, "parquet": _parquet,
    }  # fmt: skip
    return writers[form](rows, columns)


def _csv(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[bytes]:
    yield _csv_line(columns)
    for row in rows:
        yield _csv_line([row[column] for column in columns])


def _csv_line(values: Sequence[Any]) -> bytes:
    line = io.StringIO()
    csv.writer(line, lineterminator="\r\n").writerow(values)  # None is written as nothing
    return line.getvalue().encode("utf-8", "backslashreplace")


def _json_lines(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[bytes]:
    for row in rows:
        line = json.dumps({column: row[column] for column in columns}, ensure_ascii=False)
        yield line.encode("utf-8", "backslashreplace") + b"\n"


def _parquet(rows: Iterable[Row], columns: Sequence[str]) -> Iterator[bytes]:
    try:
        import pyarrow
        from pyarrow.parquet import ParquetWriter
    except ImportError:
        raise BadRequest(
            "this server cannot write Parquet: install tx81-orchestrator[parquet] there, or ask for csv or jsonl",
            field="format",
        ) from None
    schema = pyarrow.schema([(column, getattr(pyarrow, _TYPES.get(column, "string"))()) for column in columns])

    def pieces() -> Iterator[bytes]:
        file = _Pieces()
        with ParquetWriter(pyarrow.PythonFile(file, mode="w"), schema) as writer:
            left = iter(rows)
            while group := list(itertools.islice(left, _ROW_GROUP)):
                writer.write_table(pyarrow.Table.from_pylist([_clean(row) for row in group], schema=schema))
                yield file.taken()
        yield file.taken()

    return pieces()


_TYPES = {
    **dict.fromkeys(
        ("job_id", "attempt_id", "repeat", "index", "batch", "n", "prompt_tokens", "output_tokens"), "int64"
    ),
    **dict.fromkeys(("value", "seconds", "ttft_seconds"), "float64"),
    **dict.fromkeys(("warm", "exact"), "bool_"),
}
"""Column → name of its type in Parquet; all others are texts."""


def _clean(row: Row) -> dict[str, Any]:
    """Without lone surrogates, which Parquet's texts cannot hold."""
    return {
        name: value.encode("utf-8", "backslashreplace").decode() if isinstance(value, str) else value
        for name, value in row.items()
    }


class _Pieces(io.RawIOBase):
    """A file that gives away what was written to it."""

    def __init__(self) -> None:
        self._held: list[bytes] = []

    def writable(self) -> bool:
        return True

    def write(self, data: Any) -> int:
        self._held.append(bytes(data))
        return len(self._held[-1])

    def taken(self) -> bytes:
        held, self._held = b"".join(self._held), []
        return held
