"""Kernel images as folders on disk: found, whole, and compiled from the source beside them.

One finder for what was imported and for what a tool has compiled: a folder with a literal `kcore.bin`, else one with
`model_info.json` (`orchestrator.model.kcores`).
"""

import os
from pathlib import Path

from orchestrator.model.bystanders import is_bystander
from orchestrator.model.kcores import (
    LITERAL,
    MODEL_INFO,
    MODEL_INFO_LIMIT,
    SOURCE_MANIFEST,
    BadKcore,
    fingerprint_of,
    is_from_another_source,
    missing,
)
from orchestrator.storage.trees import FoundFile, walk

DEEPEST = 6
"""Folders below the given one in which a kernel image is looked for; the vendor's archives need three."""

MOST_FOLDERS = 10_000

_PIECE = 1 << 20


def kernel_image(content: Path, *, since_ns: int = 0) -> Path:
    """The folder of the one kernel image below `content` that was written since then; BadKcore if it is not one."""
    literal: list[Path] = []
    described: list[Path] = []
    for looked, (base, folders, files) in enumerate(os.walk(content)):
        if looked > MOST_FOLDERS:
            raise BadKcore(f"{content.name} holds more than {MOST_FOLDERS} folders; name the one with {LITERAL}")
        folders[:] = [name for name in folders if not is_bystander(name)]
        if len(Path(base).relative_to(content).parts) >= DEEPEST:
            folders.clear()
        for name, found in ((LITERAL, literal), (MODEL_INFO, described)):
            if name in files and (Path(base) / name).lstat().st_mtime_ns >= since_ns:
                found.append(Path(base))
                break
    found = literal or described
    if not found:
        raise BadKcore(
            f"there is no {'new ' if since_ns else ''}kernel image in it: neither {LITERAL} nor {MODEL_INFO}, "
            f"up to {DEEPEST} folders deep"
        )
    if len(found) > 1:
        some = ", ".join(sorted(str(folder.relative_to(content)) for folder in found)[:5])
        raise BadKcore(f"there are {len(found)} kernel images in it ({some}): give the path of one")
    return found[0]


def require_whole(node: Path) -> None:
    """BadKcore if a file of the image is missing or empty, or it was compiled from another source than lies there."""
    files = {found.path for found in walk(node) if isinstance(found, FoundFile) and found.real.stat().st_size}
    info = node / MODEL_INFO
    if info.is_file() and info.stat().st_size > MODEL_INFO_LIMIT:
        raise BadKcore(f"{MODEL_INFO} is larger than {MODEL_INFO_LIMIT} bytes")
    lacking = missing(files, info.read_bytes() if MODEL_INFO in files else None)
    if lacking is not None:
        raise BadKcore(f"the kernel image is incomplete: {lacking} is missing or empty")
    if LITERAL in files and SOURCE_MANIFEST in files:
        _require_own_source(node)


def _require_own_source(node: Path) -> None:
    beside = node / SOURCE_MANIFEST
    if beside.stat().st_size > MODEL_INFO_LIMIT:
        return
    fingerprint = fingerprint_of(beside.read_bytes())
    if fingerprint is None:
        return
    with (node / LITERAL).open("rb") as image:
        before = b""
        told = False
        while piece := image.read(_PIECE):
            # What lies across two pieces is seen in the second.
            seen = before + piece
            if fingerprint.encode() in seen:
                return
            told = told or is_from_another_source(seen, fingerprint)
            before = seen[-256:]
    if told:
        raise BadKcore(
            f"{LITERAL} was not compiled from the source beside it, but from another model's: compile it again, "
            f"or give {LITERAL} alone"
        )
