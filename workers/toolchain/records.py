"""Records of text files, found by patterns, as JSON lines: a script of its own, run as `python -S -E -I records.py`.

A pattern may never finish on one record, and a thread that does so blocks every other thread of the worker, the
heartbeat first. So this is a process, and the kernel ends it when its processor time is used up, whether the worker
still lives or not. It imports nothing of ours.

Standard input is one JSON object: `files` (paths, in order), `starts`, `pattern`, `most_bytes` of one record, and
`seconds` of processor time. Standard output is one JSON object a record: `file` (its number among the files), `line`
(where the record begins, from 1) and `groups` (named group → text or null). Exit code 3: the files do not fit the
patterns, and the last line of standard error says where.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from collections.abc import Iterator
from typing import BinaryIO

UNFIT = 3
"""Exit code: what is in the files is not what the patterns say."""


def main() -> int:
    """Print every record of every file, or say what is wrong with the first that is none."""
    asked = json.load(sys.stdin)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (asked["seconds"], asked["seconds"]))
    starts, pattern = re.compile(asked["starts"]), re.compile(asked["pattern"])
    for number, path in enumerate(asked["files"]):
        name = path.rpartition("/")[2]
        try:
            with open(path, "rb") as stream:
                for line, record in records(stream, starts, asked["most_bytes"]):
                    found = pattern.search(record)
                    if found is None:
                        raise Unfit(f"the record at line {line} does not match the profile's pattern")
                    print(json.dumps({"file": number, "line": line, "groups": found.groupdict()}))
        except Unfit as unfit:
            print(f"{name}: {unfit}", file=sys.stderr)
            return UNFIT
    return 0


class Unfit(Exception):
    """A file is not what the patterns say."""


def records(stream: BinaryIO, starts: re.Pattern[str], most: int) -> Iterator[tuple[int, str]]:
    """Each record with the number of its first line; never more than one of them in memory."""
    began, size = 0, 0
    held: list[str] = []
    for number, (taken, line) in enumerate(_lines(stream, most), 1):
        begins = starts.search(line) is not None
        if begins and held:
            yield began, _whole(held)
        if begins:
            began, size, held = number, 0, []
        if begins or held:
            size += taken
            held.append(line)
            if size > most:
                raise Unfit(f"the record at line {began} is longer than {most} bytes")
    if held:
        yield began, _whole(held)
    elif not began:
        raise Unfit("no line matches the profile's `starts`")


def _lines(stream: BinaryIO, most: int) -> Iterator[tuple[int, str]]:
    number = 0
    while line := stream.readline(most + 1):
        number += 1
        if len(line) > most:
            raise Unfit(f"line {number} is longer than {most} bytes")
        text = line.decode("utf-8-sig" if number == 1 else "utf-8", "replace")
        yield len(line), text.removesuffix("\n").removesuffix("\r")


def _whole(lines: list[str]) -> str:
    return "\n".join(lines).rstrip("\n")


if __name__ == "__main__":
    raise SystemExit(main())
