"""Archives from outside, unpacked so that nothing is written outside the folder that was meant for it.

A process of its own does it (`orchestrator.catalog.unpacking`): an archive that needs more than its limits ends that
process and nothing else.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from threading import Event
from typing import Any

from orchestrator.catalog import child, unpacking
from orchestrator.errors import BadRequest, BadSpec
from orchestrator.model import bystanders

MOST_MEMBERS = 100_000

MEMORY = 512 << 20
"""Bytes of address space; unpacking needs some 30 MiB, whatever the archive."""

_STAGING = ".tx81-unpacking-"
"""Prefix of folders that an interrupted unpacking leaves."""


def unpack(archive: Path, target: Path, *, most_bytes: int, gone: Event | None = None) -> Path:
    """Unpack a .tar or .tar.gz into the new folder `target`; returns the folder that holds its files.

    That is `target`, or the one folder in it that holds everything else. Only files and folders are taken: a link, a
    device or a pipe has no place in a model, and one name that leads out refuses the whole archive. Bystanders
    (`orchestrator.model.bystanders`) are left out, whatever they are. BadSpec says what is wrong with the archive,
    NotWanted that `gone` was set meanwhile; OSError means a full disk or a broken one. Then `target` may hold what came
    before.
    """
    target.mkdir(parents=True)
    found = _unpacked(archive, target, most_bytes, over=False, gone=gone)
    if found.get("refused") == "size":
        raise BadRequest(
            f"the archive has more than {most_bytes} bytes or {MOST_MEMBERS} files: {found['detail']}; see "
            "TX81_MAX_UPLOAD_BYTES",
            field="upload",
        )
    if found.get("refused") == "broken":
        raise BadSpec(f"not a complete .tar or .tar.gz: {found['detail']}", field="upload")
    if found.get("refused"):
        raise BadSpec(found["detail"], field="upload")
    entries = list(target.iterdir())
    if not entries:
        raise BadSpec("the archive is empty", field="upload")
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else target


def unpack_over(archive: Path, root: Path, *, most_bytes: int) -> None:
    """Unpack a .tar or .tar.gz over what is in `root`, with its links and modes: a package that is trusted as a whole.

    Each file is replaced in one step, so that no process reads half of it, and is never written through a link. Names
    and links that lead out of `root`, absolute links and special files refuse it. BadSpec says what is wrong with it;
    then, as after any other error, some of it may be there.
    """
    for left_behind in root.glob(f"{_STAGING}*"):
        shutil.rmtree(left_behind)
    found = _unpacked(archive, root, most_bytes, over=True, gone=None)
    if found.get("refused") == "size":
        raise BadSpec(f"{archive.name} has more than {most_bytes} bytes, the free space: {found['detail']}")
    if found.get("refused") == "broken":
        raise BadSpec(f"{archive.name} is not a complete .tar or .tar.gz: {found['detail']}")
    if found.get("refused"):
        raise BadSpec(f"{archive.name} is not unpacked: {found['detail']}")


def _unpacked(archive: Path, target: Path, most_bytes: int, *, over: bool, gone: Event | None) -> Mapping[str, Any]:
    """The answer of the process; an OSError of the system, wherever it came from, is one here too."""
    size = archive.stat().st_size
    # Time by what is really there to read: 4 MiB/s of processor time, 1 MiB/s in all.
    limits = child.ChildLimits(
        MEMORY, cpu_seconds=60 + (size >> 22), wall_seconds=600 + (size >> 20), file_bytes=most_bytes
    )
    task = {
        "archive": str(archive.absolute()), "target": str(target.absolute()), "most_bytes": most_bytes,
        "most_members": MOST_MEMBERS, "over": over, "skipped": None if over else bystanders.PATTERN,
    }  # fmt: skip
    try:
        found = child.answer(Path(unpacking.__file__), task, limits, gone=gone)
    except child.OverLimit as over_limit:
        return {"refused": "size", "detail": f"it needs more than {over_limit}"}
    if "errno" in found:
        raise OSError(found["errno"], os.strerror(found["errno"]), str(target))
    return found
