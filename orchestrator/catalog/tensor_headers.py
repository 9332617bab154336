"""The headers of weights and their indexes, checked by a process of its own that `orchestrator.catalog.child` starts.

It imports nothing of ours. A header may have 100 MiB, which as JSON can become gigabytes of objects: so its brackets
are counted before it is parsed, and the kernel limits what parsing may take.

The task: `weights` and `indexes`, lists of paths, the second relative to `folder`. The answer: `{}`, or `refused`: why
the first of them is not taken.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

HEADER_LIMIT = 100 << 20
"""Largest safetensors header; the format's own limit."""

MOST_TENSORS = 500_000
"""Of one file or index; models of a trillion parameters have some 100,000."""

LFS_POINTER = b"version https://git-lfs.github.com/spec/"
"""How the text begins that git has in the place of a large file (git-lfs, docs/spec.md)."""

POINTER_TOLD = "a pointer of git-lfs, not the file itself: run `git lfs pull` in that folder"


class HeaderRefused(Exception):
    """The weights are not taken; the text says why."""


def check_weights(file: Path) -> None:
    """HeaderRefused if the file's header does not describe the bytes that follow it.

    Format: eight bytes little-endian header length, a JSON object from tensor name to dtype, shape and data_offsets,
    the data. https://huggingface.co/docs/safetensors
    """
    with file.open("rb") as stream:
        total = os.fstat(stream.fileno()).st_size
        begins = stream.read(8)
        length = int.from_bytes(begins, "little")
        if begins == LFS_POINTER[:8]:
            raise HeaderRefused(f"{file.name} is {POINTER_TOLD}")
        if total < 8 or not 2 <= length <= min(HEADER_LIMIT, total - 8):
            raise HeaderRefused(f"{file.name} has a broken safetensors header: its length does not fit the file")
        try:
            header = _object(stream.read(length))
            tensors = [_extent(entry) for name, entry in header.items() if name != "__metadata__"]
            end = max((stop for _start, stop in tensors), default=0)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as trouble:
            why = str(trouble) if isinstance(trouble, _TooMuch) else "it is not a table of tensors"
            raise HeaderRefused(f"{file.name} has a broken safetensors header: {why}") from None
    if not tensors or 8 + length + end != total:
        raise HeaderRefused(
            f"{file.name} is cut off or has a broken header: {total} bytes, {8 + length + end} announced"
        )


def check_index(folder: Path, index: str) -> None:
    """HeaderRefused if a shard that the index names is not beside it.

    Format: JSON, `weight_map` from tensor name to the file that holds it.
    https://huggingface.co/docs/hub/safetensors
    """
    file = folder / index
    try:
        with file.open("rb") as stream:
            content = stream.read(HEADER_LIMIT + 1)
        if len(content) > HEADER_LIMIT:
            raise _TooMuch(f"it has more than {HEADER_LIMIT} bytes")
        shards = {str(shard) for shard in _object(content)["weight_map"].values()}
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError) as trouble:
        why = str(trouble) if isinstance(trouble, _TooMuch) else "it has no weight_map"
        raise HeaderRefused(f"{index} is not an index of shards: {why}") from None
    for shard in sorted(shards):
        if not shard.endswith(".safetensors") or not _is_beside(file, shard):
            raise HeaderRefused(f"the weights are incomplete: {index} names {shard[:200]}, which is missing")


def _is_beside(file: Path, name: str) -> bool:
    try:
        return Path(name).name == name and file.with_name(name).is_file()
    except (OSError, ValueError):  # too long, or no name that a file can have
        return False


class _TooMuch(ValueError):
    """The document is refused for its size or its form; the text says which."""


def _object(content: bytes) -> dict[str, Any]:
    if content.count(b"{") + content.count(b"[") > 4 * MOST_TENSORS or content.count(b",") > 16 * MOST_TENSORS:
        raise _TooMuch(f"it has more than {MOST_TENSORS} tensors")
    document = json.loads(content, object_pairs_hook=_once)
    if not isinstance(document, dict):
        raise ValueError("no object")
    if len(document) > MOST_TENSORS:
        raise _TooMuch(f"it has more than {MOST_TENSORS} tensors")
    return document


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))  # type: ignore[func-returns-value]
        raise _TooMuch(f"{twice[:200]!r} is given a second time")
    return found


def _extent(entry: dict[str, Any]) -> tuple[int, int]:
    start, stop = entry["data_offsets"]
    if not (type(start) is type(stop) is int and 0 <= start <= stop):
        raise ValueError("offsets are whole numbers, the first not beyond the second")
    return start, stop


def outcome(task: dict[str, Any]) -> dict[str, Any]:
    """Check all that the task names, and say how it went."""
    try:
        for file in task["weights"]:
            check_weights(Path(file))
        for index in task["indexes"]:
            check_index(Path(task["folder"]), index)
    except HeaderRefused as refused:
        return {"refused": str(refused)}
    except OSError as trouble:
        return {"errno": trouble.errno, "path": str(trouble.filename or task["folder"])}
    return {}
