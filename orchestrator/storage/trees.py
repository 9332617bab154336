"""A folder as one digest: the manifest of a tree, and how a folder is read to make one.

The manifest is canonical JSON (ASCII, no spaces, sorted by the bytes of the path), so equal folders have equal
digests on every host. It holds relative path, sha256, size and executable bit of each file, and the folders that are
empty. Times, owners and other mode bits are left out: they differ between hosts and change nothing that a tool reads.
Names that are not UTF-8 travel as lone surrogates, the way `os.fsdecode` spells them.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path, PurePosixPath
from typing import BinaryIO

from orchestrator.errors import BadRequest, OrchestratorError, PathRefused
from orchestrator.model.bystanders import is_bystander

DEEPEST = 64
"""Folders that a file of a tree may lie in; the deepest that the tools make has nine."""

_FORMAT = "tx81-tree/1"
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


class BadDigest(BadRequest):
    """The text is not a digest, which is `sha256:` and 64 lower-case hex digits."""

    code = "bad_digest"


class UnsafeTree(PathRefused):
    """Something in the folder cannot be part of a tree: a link that leaves it, a device, a socket, a loop of links."""

    code = "unsafe_tree"


class BadManifest(OrchestratorError):
    """The bytes are not the manifest of a tree, or name a path outside it."""

    code = "bad_manifest"


def checked_digest(digest: str) -> str:
    """The digest itself, once it is known to be one; only then may it become part of a path."""
    if not _DIGEST.fullmatch(digest):
        raise BadDigest(f"{digest[:100]!r} is not a digest: write sha256: and 64 hex digits", digest=digest[:100])
    return digest


def digest_of(content: bytes) -> str:
    """The digest of bytes at hand."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Entry:
    """One file of a tree; `path` is relative, with slashes."""

    path: str
    digest: str
    size: int
    executable: bool


@dataclass(frozen=True, slots=True)
class Tree:
    """The files of a folder and those of its folders that hold nothing."""

    entries: tuple[Entry, ...]
    empty_folders: tuple[str, ...] = ()

    @property
    def size(self) -> int:
        """Bytes of all files together."""
        return sum(entry.size for entry in self.entries)

    def manifest(self) -> bytes:
        """The canonical bytes, whose digest is the digest of the tree."""
        files = [
            {"executable": entry.executable, "path": entry.path, "sha256": entry.digest[7:], "size": entry.size}
            for entry in sorted(self.entries, key=lambda entry: os.fsencode(entry.path))
        ]
        folders = sorted(self.empty_folders, key=os.fsencode)
        document = {"empty_folders": folders, "files": files, "format": _FORMAT}
        return json.dumps(document, separators=(",", ":"), sort_keys=True).encode("ascii")

    @classmethod
    def from_manifest(cls, manifest: bytes) -> "Tree":
        """Read a manifest back, trusting nothing in it: every path stays below the folder it is laid into."""
        try:
            document = json.loads(manifest)
            if document["format"] != _FORMAT:
                raise BadManifest(f"the manifest is not in the form {_FORMAT}")
            entries = tuple(
                Entry(
                    path=_inside(file["path"]),
                    digest=checked_digest(f"sha256:{file['sha256']}"),
                    size=_whole(file["size"]),
                    executable=bool(file["executable"]),
                )
                for file in document["files"]
            )
            tree = cls(entries, tuple(_inside(folder) for folder in document["empty_folders"]))
            _refuse_overlaid(tree)
            return tree
        except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
            raise BadManifest(f"these bytes are not the manifest of a tree: {error!r}") from error


def _whole(size: object) -> int:
    if type(size) is not int or not 0 <= size < 1 << 63:
        raise ValueError(f"{size!r} is no size")
    return size


def _refuse_overlaid(tree: Tree) -> None:
    """BadManifest if two things would be laid at one place, or one below a file."""
    files = {entry.path for entry in tree.entries}
    if len(files) != len(tree.entries):
        raise BadManifest("the manifest names a file twice")
    for path in (*files, *tree.empty_folders):
        above = path
        while above := above.rpartition("/")[0]:
            if above in files:
                raise BadManifest(f"the manifest names {path[:200]!r} below a file")
    if files & set(tree.empty_folders):
        raise BadManifest("the manifest names a folder and a file alike")


def _inside(path: str) -> str:
    os.fsencode(path)  # a surrogate that stands for no byte is a ValueError here, not half-way through laying out
    if "\0" in path or any(part in {"", ".", ".."} for part in path.split("/")):
        raise BadManifest(f"the manifest names {path[:200]!r}, which is not a plain relative path")
    return path


@dataclass(frozen=True, slots=True)
class FoundFile:
    """A regular file met below a folder: the name it has there, and the place its bytes really are."""

    path: str
    real: Path


def walk(folder: Path) -> Iterator[FoundFile | str]:
    """Every file below `folder`, and the relative path (text) of every empty folder; links are followed inside it only.

    Bystanders (`orchestrator.model.bystanders`) are left out. A link that leaves the folder is refused, not skipped: a
    tree that silently lacks its weights would be worse.
    """
    root = folder.resolve(strict=True)
    if not root.is_dir():
        raise UnsafeTree(f"{folder} is not a folder: store it as a file", path=str(folder))
    yield from _walk(root, root, PurePosixPath(), above=(root,))


def _walk(root: Path, here: Path, relative: PurePosixPath, above: tuple[Path, ...]) -> Iterator[FoundFile | str]:
    if len(relative.parts) > DEEPEST:
        raise UnsafeTree(f"{relative} is deeper than {DEEPEST} folders", path=str(relative))
    with os.scandir(here) as found:
        names = sorted(entry.name for entry in found if not is_bystander(entry.name))
    if not names and relative.parts:
        yield str(relative)
    for name in names:
        path = relative / name
        real = _resolved(root, here / name, path)
        mode = real.lstat().st_mode
        if stat.S_ISREG(mode):
            yield FoundFile(str(path), real)
        elif stat.S_ISDIR(mode) and real in above:
            raise UnsafeTree(f"{path} links to a folder that holds it: remove the link", path=str(path))
        elif stat.S_ISDIR(mode):
            yield from _walk(root, real, path, (*above, real))
        else:
            raise UnsafeTree(f"{path} is a device, socket or pipe: remove it from the folder", path=str(path))


def _resolved(root: Path, path: Path, relative: PurePosixPath) -> Path:
    if not path.is_symlink():
        return path
    try:
        real = path.resolve(strict=True)
    except (OSError, RuntimeError) as error:  # Python 3.11 reports a loop of links as RuntimeError
        raise UnsafeTree(f"{relative} is a broken link: remove or repair it", path=str(relative)) from error
    if not real.is_relative_to(root):
        raise UnsafeTree(
            f"{relative} links to {real}, outside the folder: replace the link by the file (cp -L)",
            path=str(relative),
            target=str(real),
        )
    return real


def open_regular(path: Path) -> BufferedReader:
    """Open a file for reading, and only a file: a link, or a pipe put in its place meanwhile, is refused."""
    # O_NONBLOCK: opening a pipe without it waits for a writer for ever.
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UnsafeTree(f"{path} is not a regular file", path=str(path))
    return os.fdopen(descriptor, "rb")


def is_executable(opened: BinaryIO) -> bool:
    """Whether the owner may execute the opened file: the one mode bit that is part of a tree."""
    return bool(os.fstat(opened.fileno()).st_mode & stat.S_IXUSR)
