"""The weights in a folder: their identity, and whether they are complete."""

import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from orchestrator.catalog import child, tensor_headers
from orchestrator.catalog.paths import reason, shown
from orchestrator.errors import BadSpec, PathRefused
from orchestrator.model.bystanders import is_bystander
from orchestrator.model.cache_keys import digest_of
from orchestrator.settings import Settings
from orchestrator.storage.trees import DEEPEST

MEMORY = 1 << 30
"""Bytes of address space in which headers are read; the largest that people make need a fifth."""

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
    """Everything in the folder but the config.json files and bystanders, after a look at the weights' headers.

    A worker asks again after a build: a build from an overwritten folder must not get into the cache."""
    # Before the contents: what is written while they are read shows in the next stamp.
    stamp = stamp_of(settings, folder)
    contents: dict[str, str] = {}
    tensors: dict[str, str] = {}
    size = 0
    found = list(_contents(settings, folder))
    with _raising_path_refused(folder):
        weights = [file for _, file in found if file.name.endswith(".safetensors")]
        _require_whole(folder, weights, [name for name, _ in found if name.endswith(_INDEX)])
    for name, file in found:
        with _raising_path_refused(folder):
            size += file.stat().st_size
            with file.open("rb") as stream:
                _refuse_pointer(name, stream)
                contents[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        if file.name.endswith(".safetensors"):
            tensors[name] = contents[name]
    if not tensors:
        raise BadSpec(f"{folder} holds no *.safetensors weights", field="path")
    return Weights(digest_of(contents), size, stamp, digest_of(tensors))


def stamp_of(settings: Settings, folder: Path, *, earlier_rule: bool = False) -> str:
    """Of what is in the folder, without reading it: `Weights.stamp`."""
    with _raising_path_refused(folder):
        seen = {name: file.stat() for name, file in _contents(settings, folder, earlier_rule=earlier_rule)}
        return digest_of({name: [each.st_size, each.st_mtime_ns] for name, each in seen.items()})


def earlier_digest_of(settings: Settings, folder: Path) -> str:
    """The digest by the rule that took bystanders for a part of the model; rows of that time still have it."""
    with _raising_path_refused(folder):
        contents = {}
        for name, file in _contents(settings, folder, earlier_rule=True):
            with file.open("rb") as stream:
                contents[name] = hashlib.file_digest(stream, "sha256").hexdigest()
        return digest_of(contents)


def written_since(settings: Settings, folder: Path, when: datetime) -> list[str]:
    """The files written after `when`, each with the time, the latest first; by the clock of their file system."""
    with _raising_path_refused(folder):
        seen = {name: file.stat() for name, file in _contents(settings, folder)}
    # Content with an earlier time that was put in its place shows in the time of the inode.
    times = {name: max(each.st_mtime, each.st_ctime) for name, each in seen.items()}
    later = sorted((name for name in times if times[name] > when.timestamp()), key=lambda name: -times[name])
    told = {name: datetime.fromtimestamp(times[name], UTC) for name in later}
    return [f"{shown(name)} was written at {time:%Y-%m-%d %H:%M:%S} UTC" for name, time in told.items()]


def _contents(settings: Settings, folder: Path, *, earlier_rule: bool = False) -> Iterator[tuple[str, Path]]:
    with _raising_path_refused(folder):
        for name, file in _files_below(settings, folder, earlier_rule=earlier_rule):
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


def _files_below(settings: Settings, folder: Path, *, earlier_rule: bool) -> Iterator[tuple[str, Path]]:
    """Every file with its name below the folder; PathRefused for what is no file, or leaves the allowed roots."""

    def refuse(trouble: OSError) -> None:
        raise trouble

    may_read = settings.reading()
    for base, folders, all_names in os.walk(folder, onerror=refuse):
        real_base, below = Path(base).resolve(), os.path.relpath(base, folder)
        open_base = may_read(real_base)
        names = [name for name in all_names if earlier_rule or not is_bystander(name)]
        folders[:] = [name for name in folders if earlier_rule or not is_bystander(name)]
        if len(Path(base).parts) - len(folder.parts) > DEEPEST:
            raise PathRefused(f"{shown(base)} is deeper than {DEEPEST} folders below the model", field="path")
        for name in sorted(folders):
            if Path(base, name).is_symlink():
                raise PathRefused(f"{shown(name)} is a link to a folder; replace the link by the folder", field="path")
        for name in sorted(names):
            file = Path(base, name)
            try:
                real = file.resolve() if os.path.islink(file) else real_base / name
            except RuntimeError:  # how Python 3.11 reports a loop of links
                raise PathRefused(f"{shown(name)} is a link to itself", field="path") from None
            # What lies in an open folder is open itself, unless it leads elsewhere or is hidden.
            plain = open_base and real.parent == real_base and not real.name.startswith(".")
            if not (plain or may_read(real)):
                raise PathRefused(f"{shown(name)} is a link to a path outside the allowed roots", field="path")
            if not os.path.isfile(file):
                raise PathRefused(f"{shown(name)} is not a readable file", field="path")
            yield name if below == "." else f"{below}/{name}", file


def _refuse_pointer(name: str, stream: BinaryIO) -> None:
    """BadSpec for what git has in the place of a large file, as long as nobody fetched that."""
    begins = stream.read(len(tensor_headers.LFS_POINTER))
    stream.seek(0)
    if begins == tensor_headers.LFS_POINTER:
        raise BadSpec(f"{shown(name)} is {tensor_headers.POINTER_TOLD}", field="path")


def check_safetensors(file: Path) -> None:
    """BadSpec if the file's header does not describe the bytes that follow it."""
    _require_whole(file.parent, [file], [])


def _require_whole(folder: Path, weights: Sequence[Path], indexes: Sequence[str]) -> None:
    """BadSpec unless each header fits its file, and each shard that an index names is beside it."""
    task = {"folder": str(folder), "weights": [str(file) for file in weights], "indexes": list(indexes)}
    limits = child.ChildLimits(MEMORY, cpu_seconds=30 + 5 * (len(weights) + len(indexes)), wall_seconds=600)
    try:
        found = child.answer(Path(tensor_headers.__file__), task, limits)
    except child.OverLimit as over_limit:
        raise BadSpec(f"a header of the weights takes more than {over_limit} to read", field="path") from None
    if "errno" in found:
        raise OSError(found["errno"], os.strerror(found["errno"]), found["path"])
    if "refused" in found:
        raise BadSpec(found["refused"], field="path")
