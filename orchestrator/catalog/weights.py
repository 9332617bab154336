"""The weights in a folder: their identity, and whether they are complete."""

import hashlib
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from orchestrator.catalog.paths import reason, shown
from orchestrator.errors import BadSpec, PathRefused
from orchestrator.model.cache_keys import digest_of
from orchestrator.settings import Settings

HEADER_LIMIT = 100 << 20
"""Largest safetensors header; the format's own limit."""

_INDEX = ".safetensors.index.json"


@dataclass(frozen=True)
class Weights:
    """The content of a folder except its config.json files, read completely."""

    digest: str
    size: int
    stamp: str
    """Of names, sizes and times of the files: as long as it is the same, they were not written to."""
    tensors: str
    """Of the contents of the *.safetensors alone."""


def weights_of(settings: Settings, folder: Path) -> Weights:
    """Everything in the folder but the config.json files, after a look at the weights' headers.

    A worker asks again after a build: a build from an overwritten folder must not get into the cache."""
    # Before the contents: what is written while they are read shows in the next stamp.
    stamp = stamp_of(settings, folder)
    contents: dict[str, str] = {}
    tensors: dict[str, str] = {}
    size = 0
    for name, file in _contents(settings, folder):
        with _raising_path_refused(folder):
            if file.name.endswith(".safetensors"):
                check_safetensors(file)
            size += file.stat().st_size
            with file.open("rb") as stream:
                contents[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        if file.name.endswith(".safetensors"):
            tensors[name] = contents[name]
        if file.name.endswith(_INDEX):
            _require_shards(folder, name)
    if not tensors:
        raise BadSpec(f"{folder} holds no *.safetensors weights", field="path")
    return Weights(digest_of(contents), size, stamp, digest_of(tensors))


def stamp_of(settings: Settings, folder: Path) -> str:
    """Of what is in the folder, without reading it: `Weights.stamp`."""
    with _raising_path_refused(folder):
        seen = {name: file.stat() for name, file in _contents(settings, folder)}
        return digest_of({name: [each.st_size, each.st_mtime_ns] for name, each in seen.items()})


def _contents(settings: Settings, folder: Path) -> Iterator[tuple[str, Path]]:
    with _raising_path_refused(folder):
        for name, file in _files_below(settings, folder):
            if not (file.name.startswith("config") and file.name.endswith(".json")):
                yield name, file


@contextmanager
def _raising_path_refused(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as trouble:
        raise PathRefused(
            f"{shown(str(trouble.filename or folder))} cannot be read: {reason(trouble)}", field="path"
        ) from None


def _files_below(settings: Settings, folder: Path) -> Iterator[tuple[str, Path]]:
    """Every file with its name below the folder; PathRefused for what is no file, or leaves the allowed roots."""

    def refuse(trouble: OSError) -> None:
        raise trouble

    roots = settings.readable_roots
    for base, folders, names in os.walk(folder, onerror=refuse):
        for name in sorted(folders):
            if Path(base, name).is_symlink():
                raise PathRefused(f"{shown(name)} is a link to a folder; replace the link by the folder", field="path")
        for name in sorted(names):
            file = Path(base, name)
            try:
                real = file.resolve()
            except RuntimeError:  # how Python 3.11 reports a loop of links
                raise PathRefused(f"{shown(name)} is a link to itself", field="path") from None
            if not any(real.is_relative_to(root) for root in roots):
                raise PathRefused(f"{shown(name)} is a link to a path outside the allowed roots", field="path")
            if not file.is_file():
                raise PathRefused(f"{shown(name)} is not a readable file", field="path")
            yield str(file.relative_to(folder)), file


def check_safetensors(file: Path) -> None:
    """BadSpec if the file's header does not describe the bytes that follow it.

    Format: eight bytes little-endian header length, a JSON object from tensor name to dtype, shape and data_offsets,
    the data. https://huggingface.co/docs/safetensors
    """
    total = file.stat().st_size
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if total < 8 or not 2 <= length <= min(HEADER_LIMIT, total - 8):
            raise BadSpec(
                f"{file.name} has a broken safetensors header: its length does not fit the file", field="path"
            )
        try:
            header = json.loads(stream.read(length))
            tensors = [_extent(entry) for name, entry in header.items() if name != "__metadata__"]
            end = max((stop for _start, stop in tensors), default=0)
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
            raise BadSpec(
                f"{file.name} has a broken safetensors header: it is not a table of tensors", field="path"
            ) from None
    if not tensors or 8 + length + end != total:
        raise BadSpec(
            f"{file.name} is cut off or has a broken header: {total} bytes, {8 + length + end} announced", field="path"
        )


def _require_shards(folder: Path, index: str) -> None:
    """BadSpec if a shard that the index names is missing.

    Format: JSON, `weight_map` from tensor name to the file that holds it.
    https://huggingface.co/docs/hub/safetensors
    """
    file = folder / index
    try:
        if file.stat().st_size > HEADER_LIMIT:
            raise ValueError("too large")
        shards = set(json.loads(file.read_bytes())["weight_map"].values())
    except (ValueError, RecursionError, KeyError, TypeError, AttributeError):
        raise BadSpec(f"{index} is not an index of shards: it has no weight_map", field="path") from None
    for shard in sorted(map(str, shards)):
        if Path(shard).name != shard or not shard.endswith(".safetensors") or not (file.parent / shard).is_file():
            raise BadSpec(f"the weights are incomplete: {index} names {shard}, which is missing", field="path")


def _extent(entry: dict[str, Any]) -> tuple[int, int]:
    start, stop = entry["data_offsets"]
    if not (type(start) is type(stop) is int and 0 <= start <= stop):
        raise ValueError("offsets are whole numbers, the first not beyond the second")
    return start, stop
