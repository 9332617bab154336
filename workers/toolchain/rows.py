"""What a tool wrote, row by row, whatever the format: never more of a file in memory than one of its records."""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from orchestrator.model.answer_rules import AnswersRule, TextAnswers
from workers.toolchain import records

MOST_RECORD_BYTES = 4 << 20
"""Of one record or line: some times what the longest answer (8192 tokens) takes with every character escaped."""

MOST_LIST_BYTES = 64 << 20
"""Of a file that is one JSON list, which has to be in memory as a whole."""

READING_SECONDS = 300
"""Processor time in which all files of a run are read by pattern; a pattern that needs more never ends."""


class BadAnswers(Exception):
    """The file is there but cannot be what it should be; the text says where and why."""


@dataclass(frozen=True)
class Row:
    """One record: what is in it by the tool's own keys, the file it is in, and where for a person."""

    values: dict[str, Any]
    file: Path
    where: str


def rows_by(rule: AnswersRule, files: Sequence[Path], *, seconds: int = READING_SECONDS) -> Iterator[Row]:
    """Every record of the files, in their order, as the profile says that they are to be read."""
    if isinstance(rule, TextAnswers):
        yield from _text_rows(rule, files, seconds)
        return
    for file in files:
        yield from _listed(file) if rule.format == "json" else json_rows(file)


def _listed(path: Path) -> Iterator[Row]:
    """The objects of a file that is one JSON list."""
    if path.stat().st_size > MOST_LIST_BYTES:
        raise BadAnswers(f"{path.name} is longer than {MOST_LIST_BYTES} bytes, and a JSON list is read as a whole")
    try:
        objects = json.loads(path.read_bytes().decode("utf-8-sig", "replace"))
    except (ValueError, RecursionError):
        raise BadAnswers(f"{path.name} is not JSON") from None
    if not isinstance(objects, list):
        raise BadAnswers(f"{path.name} is not a JSON list")
    for number, values in enumerate(objects, 1):
        if not isinstance(values, dict):
            raise BadAnswers(f"entry {number} of {path.name} is not a JSON object")
        yield Row(values, path, f"entry {number} of {path.name}")


def json_rows(path: Path) -> Iterator[Row]:
    """One JSON object a line; blank lines are none."""
    with path.open("rb") as stream:
        for number, line in enumerate(_lines(stream, path.name), 1):
            if not line.strip():
                continue
            where = f"line {number} of {path.name}"
            try:
                values = json.loads(line)
            except (ValueError, RecursionError):
                raise BadAnswers(f"{where} is not JSON") from None
            if not isinstance(values, dict):
                raise BadAnswers(f"{where} is not a JSON object")
            yield Row(values, path, where)


def _lines(stream: IO[bytes], name: str) -> Iterator[str]:
    number = 0
    while read := stream.readline(MOST_RECORD_BYTES + 1):
        if len(read) > MOST_RECORD_BYTES:
            raise BadAnswers(f"line {number + 1} of {name} is longer than {MOST_RECORD_BYTES} bytes")
        # \r ends a line too, and is in no JSON text as it is.
        for line in read.removesuffix(b"\n").removesuffix(b"\r").split(b"\r"):
            number += 1
            yield line.decode("utf-8-sig" if number == 1 else "utf-8", "replace")


def _text_rows(rule: TextAnswers, files: Sequence[Path], seconds: int) -> Iterator[Row]:
    asked = {
        "files": [str(file) for file in files], "starts": rule.starts, "pattern": rule.pattern,
        "most_bytes": MOST_RECORD_BYTES, "seconds": seconds,
    }  # fmt: skip
    with TemporaryFile() as found:
        ended = subprocess.run(
            [sys.executable, "-S", "-E", "-I", records.__file__],
            input=json.dumps(asked).encode(), stdout=found, stderr=subprocess.PIPE, check=False,
            env={},
        )  # fmt: skip
        if ended.returncode in (-signal.SIGXCPU, -signal.SIGKILL):
            raise BadAnswers(f"matching the profile's pattern took more than {seconds} s: simplify it")
        if ended.returncode:
            told = ended.stderr.decode("utf-8", "replace").strip().splitlines() or ["it ended without output"]
            raise BadAnswers(f"the answers cannot be read: {told[-1]}")
        found.seek(0)
        for line in found:
            record = json.loads(line)
            file = files[record["file"]]
            yield Row(record["groups"], file, f"the record at line {record['line']} of {file.name}")
