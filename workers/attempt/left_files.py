"""What a run wrote, stored where its result was not understood: the folders `out` (its answers), `cwd` and `work`, and
the file `prompts` that it was asked with.

Bounded: at most `MOST_FILES` files and `MOST_BYTES` bytes, smaller files first within each folder. `files.json` in the
same tree lists everything that was found, with its size, and what of it is not stored.
"""

import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from orchestrator.model.bystanders import is_bystander
from orchestrator.storage.artifacts import ArtifactStore
from workers.attempt.collect import Output
from workers.attempt.facts import Ran
from workers.attempt.launch import ENTERED

NAME = "left_files"
MOST_FILES = 500
MOST_BYTES = 64 << 20

MOST_LOOKED_AT = 20_000
"""Entries of the folders: the working folder of a kind may be a whole installation."""

LISTING = "files.json"
PROMPTS = "prompts"
"""In the tree, beside the folders."""


@dataclass(frozen=True)
class _Found:
    """A new file: its path in the tree, and where it is."""

    name: str
    path: Path
    size: int


def store_left_files(ran: Ran, work: Path, store: ArtifactStore) -> Output | None:
    """Store the new regular files as one tree; None if there are none."""
    found = _ranked(list(_new_files(ran, work)))
    if not found:
        return None
    folder = work / NAME
    listed, bytes_left, files_left = [], MOST_BYTES, MOST_FILES
    for one in found:
        stored = one.size <= bytes_left and files_left > 0 and _copied(one, folder)
        if stored:
            bytes_left, files_left = bytes_left - one.size, files_left - 1
        listed.append({"path": one.name, "bytes": one.size, "stored": stored})
    folder.mkdir(exist_ok=True)
    if "prompts" in ran.plan.words:
        shutil.copyfile(ran.plan.words["prompts"], folder / PROMPTS)
    (folder / LISTING).write_text(json.dumps(listed, ensure_ascii=True, indent=1) + "\n", "utf-8")
    tree = store.put_tree(folder)
    return Output(name=NAME, digest=tree.digest, tree=True, file_name=NAME, size=tree.size)


def _ranked(found: list[_Found]) -> list[_Found]:
    """Answers first, then what the tool wrote where it ran; of each the small files first."""
    order = {"out": 0, "cwd": 1, "work": 2}
    return sorted(found, key=lambda one: (order[one.name.partition("/")[0]], one.size, one.name))


def _new_files(ran: Ran, work: Path) -> Iterator[_Found]:
    plan = ran.plan
    out, cwd = Path(plan.words.get("out", work / "out")), plan.path(plan.kind.cwd)
    # Inputs were laid out before the run; the log is stored as such.
    left_out = {work / "log", work / ENTERED, work / NAME}
    seen: set[Path] = set()
    for name, folder in (("out", out), ("cwd", cwd), ("work", work)):
        for path in islice(_files_in(folder), MOST_LOOKED_AT):
            if path in seen or path in left_out:
                continue
            seen.add(path)
            with suppress(OSError):
                about = path.lstat()
                if stat.S_ISREG(about.st_mode) and about.st_mtime_ns >= ran.since_ns:
                    yield _Found(f"{name}/{path.relative_to(folder)}", path, about.st_size)


def _files_in(folder: Path) -> Iterator[Path]:
    for base, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_bystander(name))
        yield from (Path(base, name) for name in sorted(files) if not is_bystander(name))


def _copied(one: _Found, folder: Path) -> bool:
    """Whether its bytes could be read: a tool may have taken that right from everybody."""
    target = folder / one.name
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(one.path, target, follow_symlinks=False)
    except PermissionError:
        return False
    return True
