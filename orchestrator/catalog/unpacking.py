"""A .tar or .tar.gz, unpacked by a process of its own that `orchestrator.catalog.child` starts.

It imports nothing of ours. No size in the archive is believed: bytes are counted as they leave the decompressor, below
all that looks at headers, and headers that extend others are refused by their size before they are read. Only what a
model or a package needs of the format is known; sparse files and volumes are not.

The task: `archive`, `target`, `most_bytes`, `most_members`, `over` (a package: unpacked over what is in the target,
with links and modes), `skipped` (a pattern: members with such a component in their name are left out). The answer:
`{}`, or `refused` (`size`, `broken`, `content`) with `detail`, or `errno` of a system that could not go on.
"""

from __future__ import annotations

import copy
import errno
import gzip
import os
import re
import tarfile
import tempfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath
from typing import Any, BinaryIO

BLOCK = 512  # POSIX.1-2001, pax interchange format
MOST_EXTENDED = 1 << 20
"""Bytes of one header that extends another: a name, a link's target, or the records of pax."""

MOST_NAMES = 64 << 20
"""Bytes of all names and extended headers of an archive together."""

DEEPEST = 64
"""Folders of a member's name."""

_PIECE = 1 << 20
_GZIP = b"\x1f\x8b"
_OTHERS = {b"BZh": "bzip2", b"\xfd7zXZ": "xz", b"\x28\xb5\x2f\xfd": "zstd", b"PK\x03\x04": "zip", b"Rar!": "rar"}
_PAX = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENDED = (*_PAX, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)
_NAMES = (
    errno.ENAMETOOLONG, errno.ENOTDIR, errno.EISDIR, errno.EEXIST, errno.ELOOP, errno.ENOTEMPTY, errno.EINVAL,
    errno.EILSEQ, errno.ENOENT, errno.EMLINK, errno.EXDEV,
)  # fmt: skip
"""What the system answers to a name that cannot be where the archive wants it."""


class ArchiveRefused(Exception):
    """The archive is not taken; the text says why, with the member's name."""


class NotWhole(ArchiveRefused):
    """It is no archive, or only the beginning of one."""


class TooMuch(ArchiveRefused):
    """It holds more than it may."""


class Bounded:
    """Reads the bytes of an archive, unpacked, and never more of them than `most`."""

    def __init__(self, archive: BinaryIO, most: int) -> None:
        begins = archive.read(8)
        archive.seek(0)
        if other := next((kind for magic, kind in _OTHERS.items() if begins.startswith(magic)), None):
            raise ArchiveRefused(f"it is packed with {other}; pack it as .tar or .tar.gz")
        packed = begins.startswith(_GZIP)
        self._source: Any = gzip.GzipFile(fileobj=archive) if packed else archive
        self._left = most

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; fewer at the end only."""
        parts = []
        while size and (part := self._source.read(min(size, _PIECE))):
            self._left -= len(part)
            size -= len(part)
            if self._left < 0:
                raise TooMuch("it holds more bytes than it may")
            parts.append(part)
        return b"".join(parts)

    def exactly(self, size: int) -> bytes:
        """So many bytes, or the archive is cut off."""
        found = self.read(size)
        if len(found) != size:
            raise NotWhole("it is cut off")
        return found

    def drain(self) -> None:
        """Read to the end, where gzip has the checksum of all that went before."""
        while self.read(_PIECE):
            pass


class Member:
    """One file, folder or link of an archive, with its content still to be read."""

    def __init__(self, info: tarfile.TarInfo, source: Bounded) -> None:
        self.info = info
        self._source = source
        self._left = info.size if info.isreg() else 0
        self._padding = -self._left % BLOCK

    def pieces(self) -> Iterator[bytes]:
        """Its content; to be read before the next member is asked for, or not at all."""
        while self._left:
            piece = self._source.exactly(min(self._left, _PIECE))
            self._left -= len(piece)
            yield piece

    def leave(self) -> None:
        """Read over what is left of it."""
        for _ in self.pieces():
            pass
        self._source.exactly(self._padding)


def members(source: Bounded, *, most_members: int) -> Iterator[Member]:
    """Every member in order; ArchiveRefused if the archive is not whole or cannot be read without believing it.

    Names that are not UTF-8 have lone surrogates, the way `os.fsdecode` spells them."""
    names = headers = 0
    extended: dict[str, str] = {}
    while True:
        block = source.exactly(BLOCK)
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError as trouble:
            if block == bytes(BLOCK) and not extended:
                source.drain()
                return
            raise NotWhole(f"a header is broken: {trouble}") from None
        headers += 1
        names += len(info.name)
        if info.size < 0:
            raise ArchiveRefused(f"{shown(info.name)} says that it has fewer than no bytes")
        if info.type in _EXTENDED:
            if info.size > MOST_EXTENDED:
                raise ArchiveRefused(
                    f"a header that extends the next one has {info.size} bytes; {MOST_EXTENDED} are allowed"
                )
            names += info.size
            extended |= _extension(info.type, source.exactly(info.size))
            source.exactly(-info.size % BLOCK)
        if names > MOST_NAMES or headers > 3 * most_members:
            raise TooMuch(f"its names have more than {MOST_NAMES} bytes, or it has more than {most_members} members")
        if info.type in _EXTENDED:
            continue
        _extend(info, extended)
        extended = {}
        if info.type == tarfile.GNUTYPE_SPARSE:
            raise ArchiveRefused(f"{shown(info.name)} in the archive is a sparse file; pack it without --sparse")
        member = Member(info, source)
        yield member
        member.leave()


def _extension(kind: bytes, content: bytes) -> dict[str, str]:
    if kind in (tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK):
        name = "path" if kind == tarfile.GNUTYPE_LONGNAME else "linkpath"
        return {name: content.partition(b"\0")[0].decode("utf-8", "surrogateescape")}
    records = dict(_records(content))
    if any(key.startswith("GNU.sparse.") for key in records):
        name = shown(records.get("GNU.sparse.name", "a member"))
        raise ArchiveRefused(f"{name} in the archive is a sparse file; pack it without --sparse")
    wanted: dict[str, str] = {key: records[key] for key in ("path", "linkpath", "size") if key in records}
    if kind == tarfile.XGLTYPE and wanted:
        raise ArchiveRefused("a header for all members gives one name or size to them all")
    return wanted


def _records(content: bytes) -> Iterator[tuple[str, str]]:
    at = 0
    while at < len(content) and content[at]:
        space = content.find(b" ", at, at + 8)
        length = content[at : max(space, at)]
        end = at + int(length) if length.isdigit() else 0
        key, equals, value = content[space + 1 : end - 1].partition(b"=")
        if end <= space + 1 or end > len(content) or content[end - 1 : end] != b"\n" or not equals:
            raise NotWhole("a record of a pax header is broken")
        yield key.decode("utf-8", "replace"), value.decode("utf-8", "surrogateescape")
        at = end


def _extend(info: tarfile.TarInfo, extended: dict[str, str]) -> None:
    if "path" in extended:
        if info.type == tarfile.AREGTYPE and extended["path"].endswith("/"):
            info.type = tarfile.DIRTYPE
        info.name = extended["path"].rstrip("/")
    info.linkname = extended.get("linkpath", info.linkname)
    if "size" in extended:
        if not re.fullmatch("[0-9]{1,19}", extended["size"]):
            raise ArchiveRefused(f"{shown(info.name)} has a size that is no number")
        info.size = int(extended["size"])


def shown(name: str) -> str:
    """A member's name as a person can read it."""
    return repr(name if len(name) <= 100 else f"{name[:100]}…")


def within(info: tarfile.TarInfo, target: Path) -> tarfile.TarInfo:
    """The member as it may be unpacked below `target`, where links may be already; ArchiveRefused if it may not.

    The rules of the filter `data` of PEP 706, which early releases of Python 3.11 lack: nothing outside the folder,
    also through links that are there; links only to places inside; no special files; no set-id bits; nothing that
    others may write."""
    root = os.path.realpath(target)

    def require_inside(path: str, what: str) -> None:
        if os.path.commonpath([os.path.realpath(path), root]) != root:
            raise ArchiveRefused(f"{shown(info.name)} in the archive {what} outside its folder")

    name = info.name.lstrip("/")
    require_inside(os.path.join(root, name), "is a path")
    if info.issym() or info.islnk():
        if os.path.isabs(info.linkname):
            raise ArchiveRefused(f"{shown(info.name)} in the archive is a link to an absolute path")
        beside = os.path.dirname(name) if info.issym() else ""
        require_inside(os.path.join(root, beside, info.linkname), "is a link to a place")
    elif not (info.isreg() or info.isdir()):
        raise ArchiveRefused(f"{shown(info.name)} in the archive is a special file")
    mode = info.mode & 0o755
    if not mode & 0o100:
        mode &= ~0o111  # executable for all or for nobody
    allowed = copy.copy(info)
    allowed.name, allowed.mode = name, mode | 0o600
    return allowed


class Unpacking:
    """Puts the members of one archive where they belong."""

    def __init__(self, task: dict[str, Any]) -> None:
        self._target = Path(task["target"])
        self._most_bytes, self._most_members = task["most_bytes"], task["most_members"]
        self._over = task["over"]
        self._skipped = re.compile(task["skipped"]) if task["skipped"] else None

    def all_of(self, archive: BinaryIO) -> None:
        """Unpack every member; ArchiveRefused names the first that cannot be taken."""
        overhead = 3 * BLOCK * (self._most_members + 20) + MOST_NAMES
        source = Bounded(archive, self._most_bytes + overhead)
        left, taken = self._most_bytes, 0
        with tempfile.TemporaryDirectory(prefix=".tx81-unpacking-", dir=self._target) as staging:
            for member in members(source, most_members=self._most_members):
                taken += 1
                left -= member.info.size if member.info.isreg() else 0
                if left < 0 or taken > self._most_members:
                    raise TooMuch(f"it holds more than {self._most_bytes} bytes or {self._most_members} files")
                self._take(member, Path(staging) / "fresh")

    def _take(self, member: Member, fresh: Path) -> None:
        info = member.info
        if self._skipped is not None and any(map(self._skipped.fullmatch, PurePosixPath(info.name).parts)):
            return
        if len(PurePosixPath(info.name).parts) > DEEPEST:
            raise ArchiveRefused(f"{shown(info.name)} in the archive is deeper than {DEEPEST} folders")
        try:
            if self._over:
                self._put(member, within(info, self._target), fresh)
            else:
                self._add(member)
        except (ValueError, RecursionError) as trouble:  # a NUL in a name; UnicodeError for one that is no name here
            raise ArchiveRefused(f"{shown(info.name)} in the archive cannot be the name of a file: {trouble}") from None
        except OSError as trouble:
            if trouble.errno not in _NAMES:
                raise
            raise ArchiveRefused(
                f"{shown(info.name)} in the archive cannot be unpacked: {os.strerror(trouble.errno or 0)}"
            ) from None

    def _add(self, member: Member) -> None:
        """A file or a folder in a new place; nothing else, and nothing twice."""
        info = member.info
        info.name.encode()  # a UnicodeError for a name that is not UTF-8
        name = PurePosixPath(info.name)
        if info.islnk():
            raise ArchiveRefused(
                f"{shown(info.name)} in the archive is a hard link; pack it with: tar --hard-dereference"
            )
        if not (info.isreg() or info.isdir()):
            raise ArchiveRefused(
                f"{shown(info.name)} in the archive is a link or a special file; pack it with: tar --dereference"
            )
        if name.is_absolute() or ".." in name.parts or "\0" in info.name:
            raise ArchiveRefused(f"{shown(info.name)} in the archive is a path outside its folder")
        place = self._target / name
        if info.isdir():
            place.mkdir(parents=True, exist_ok=True)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            # "x": a second member of the same name would write through whatever the first one was.
            with place.open("xb") as written:
                for piece in member.pieces():
                    written.write(piece)
        except FileExistsError:
            raise ArchiveRefused(f"the archive holds {shown(info.name)} twice") from None

    def _put(self, member: Member, info: tarfile.TarInfo, fresh: Path) -> None:
        """Over what is there, in one step: nobody reads half of a file, and none is written through a link."""
        place = self._target / info.name
        if info.isdir():
            place.mkdir(parents=True, exist_ok=True)
            return
        place.parent.mkdir(parents=True, exist_ok=True)
        if info.issym():
            fresh.symlink_to(info.linkname)
        elif info.islnk():
            try:
                os.link(self._target / info.linkname, fresh, follow_symlinks=False)
            except PermissionError:
                raise ArchiveRefused(f"{shown(info.name)} in the archive is a hard link to a folder") from None
        else:
            with fresh.open("xb") as written:
                for piece in member.pieces():
                    written.write(piece)
            fresh.chmod(info.mode)
        fresh.replace(place)
        # Two names of one file: replacing one by the other does nothing.
        fresh.unlink(missing_ok=True)


def outcome(task: dict[str, Any]) -> dict[str, Any]:
    """Unpack, and say how it went."""
    try:
        with open(task["archive"], "rb") as archive:
            Unpacking(task).all_of(archive)
    except TooMuch as trouble:
        return {"refused": "size", "detail": str(trouble)}
    except (NotWhole, EOFError, zlib.error, gzip.BadGzipFile) as trouble:
        return {"refused": "broken", "detail": str(trouble)}
    except ArchiveRefused as trouble:
        return {"refused": "content", "detail": str(trouble)}
    except OSError as trouble:
        return {"errno": trouble.errno}
    return {}
