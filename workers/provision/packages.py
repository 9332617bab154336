"""The vendor's archives: proven to be what their checksums say, then unpacked where they belong.

Nothing is unpacked before every archive is proven. What was unpacked leaves a receipt in the root, with the archive's
checksum; it is how a second run knows that there is nothing to do, and that a root is another build's.
"""

import fnmatch
import hashlib
import os
import re
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from orchestrator.catalog.archives import unpack_over
from orchestrator.model.bystanders import is_bystander

SUMS = "SHA256SUMS"
RECEIPTS = ".tx81-packages"
"""Folder below the root with a file for each archive that was unpacked there."""

_LINE = re.compile(r"(?P<digest>[0-9a-f]{64}) [ *](?P<name>[^/\0]+)")
_LARGEST_SUMS = 1 << 20


class BadPackages(Exception):
    """The packages, or the folder for them, are not as they must be; nothing was changed."""


@dataclass(frozen=True)
class Archive:
    """One archive and what its content must be."""

    path: Path
    digest: str

    def receipt(self, root: Path) -> Path:
        """The file that records that this archive was unpacked."""
        return root / RECEIPTS / f"{self.path.name}.sha256"


def listed(folder: Path, globs: Sequence[str]) -> list[Archive]:
    """The archives that the globs name, with their checksums; BadPackages unless each names exactly one."""
    sums = folder / SUMS
    try:
        # Reading a pipe or a device would never end.
        if not sums.is_file() or sums.stat().st_size > _LARGEST_SUMS:
            raise BadPackages(f"{folder} has no {SUMS}; create it where the packages come from: sha256sum * > {SUMS}")
        lines = sums.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as trouble:
        raise BadPackages(f"{sums} cannot be read: {trouble}") from None
    known: dict[str, str] = {}
    for number, line in enumerate(lines, start=1):
        found = _LINE.fullmatch(line)
        if line.strip() and found is None:
            raise BadPackages(f"line {number} of {sums} is not a checksum and a plain file name")
        if found is not None:
            known[found["name"]] = found["digest"]
    return [_only(folder, known, wanted) for wanted in globs]


def pending(archives: Sequence[Archive], root: Path) -> list[Archive]:
    """Those that are not unpacked in the root yet; BadPackages if another build of one is."""
    left = []
    for archive in archives:
        receipt = archive.receipt(root)
        if not receipt.is_file():
            left.append(archive)
        elif receipt.read_text("utf-8", "replace").strip() != archive.digest:
            raise BadPackages(
                f"{root} contains another build of {archive.path.name}; builds are not mixed: use another root"
            )
    return left


def prove(archive: Archive) -> None:
    """BadPackages unless the file is there and its content has the checksum that is listed."""
    path = archive.path
    try:
        if not path.is_file():
            raise BadPackages(f"{path} is in {SUMS}, but the file is missing")
        with path.open("rb") as opened:
            found = hashlib.file_digest(opened, "sha256").hexdigest()
    except OSError as trouble:
        raise BadPackages(f"{path} cannot be read: {trouble.strerror}") from None
    if found != archive.digest:
        raise BadPackages(f"{path} does not match {SUMS} (its digest is {found}); copy it again")


def unpack(archive: Archive, root: Path) -> None:
    """Unpack it over what is in the root, and say so there; the disk may not be filled to the brim by it."""
    root.mkdir(parents=True, exist_ok=True)
    unpack_over(archive.path, root, most_bytes=shutil.disk_usage(root).free)
    receipt = archive.receipt(root)
    receipt.parent.mkdir(exist_ok=True)
    fresh = receipt.with_name(f".{receipt.name}.tmp")
    # Files before the receipt that speaks of them, even if the power fails.
    os.sync()
    with fresh.open("w") as opened:
        opened.write(f"{archive.digest}\n")
        opened.flush()
        os.fsync(opened.fileno())
    fresh.replace(receipt)


def _only(folder: Path, known: dict[str, str], wanted: str) -> Archive:
    names = sorted(name for name in known if fnmatch.fnmatchcase(name, wanted) and not is_bystander(name))
    if len(names) != 1:
        found = ", ".join(names) or "none"
        raise BadPackages(f"{folder / SUMS} must name one archive {wanted}; it names {found}")
    return Archive(folder / names[0], known[names[0]])
