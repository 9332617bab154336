"""The artifact store: files and trees by the digest of their content, in a folder that every host sees.

It knows files, not rows. Layout below the root:

    sha256/aa/<hex>         the bytes whose sha256 is <hex>, mode 0444
    sha256/aa/<hex>.tree    the manifest of a tree with that digest
    sha256/aa/<hex>.x       the same bytes as <hex>, mode 0555: a hard link shares the mode of what it links to
    temp/                   what is being written; never read, removed by `sweep_temp`

A name under `sha256` appears by one rename of a file already on disk, so it is complete or missing, whenever a process
dies. Two writers of one digest write the same bytes; the second rename changes nothing. Callers' files are always
copied in: a hard link would let a later write of theirs change the stored bytes.
"""

import errno
import hashlib
import os
import secrets
import shutil
import tempfile
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, Literal

from orchestrator.errors import AlreadyExists, NotFound, OrchestratorError
from orchestrator.storage.access import make_below
from orchestrator.storage.trees import (
    Entry,
    FoundFile,
    Tree,
    checked_digest,
    is_executable,
    open_regular,
    walk,
)

_CHUNK = 1 << 20
_TREE, _EXECUTABLE = ".tree", ".x"
_NO_ROOM = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_NO_LINK = {errno.EXDEV, errno.EPERM, errno.EACCES, errno.EMLINK, errno.ENOTSUP}
"""Why a hard link is refused though a copy works: another file system, another owner, too many links, no such thing."""


class UnknownArtifact(NotFound):
    """The store holds nothing under this digest (or the tree no such file)."""

    code = "unknown_artifact"


class StoreFull(OrchestratorError):
    """There is no room to write; nothing of the unfinished write is visible."""

    code = "store_full"


class DamagedArtifact(OrchestratorError):
    """Stored bytes no longer have the digest they are filed under."""

    code = "damaged_artifact"


class TargetExists(AlreadyExists):
    """Something is already where an artifact should be laid."""

    code = "target_exists"


@dataclass(frozen=True, slots=True)
class Stored:
    """What the store now holds; the `size` of a tree is that of its files."""

    digest: str
    size: int
    kind: Literal["file", "tree"]


@contextmanager
def raising_store_full(folder: Path) -> Iterator[None]:
    """Turn "no space", "over quota" and "file too large" into `StoreFull`, which names the folder."""
    try:
        yield
    except OSError as error:
        if error.errno not in _NO_ROOM:
            raise
        reason = f"cannot write below {folder}: {os.strerror(error.errno or 0)}; free some space and try again"
        raise StoreFull(reason, folder=str(folder)) from error


class ArtifactStore:
    """A content-addressed store; any number of processes on any number of hosts may use one folder at once."""

    def __init__(self, root: Path) -> None:
        self.root = root.absolute()
        self._temp = self.root / "temp"
        with raising_store_full(self.root):
            make_below(self.root, self._temp)

    def put_file(self, path: Path) -> Stored:
        """Store a copy of one file; a link is followed, since the caller named it."""
        with open_regular(path.resolve(strict=True)) as source:
            return self._put(source)

    def put_bytes(self, content: bytes) -> Stored:
        """Store bytes at hand."""
        return self._put(BytesIO(content))

    def put_tree(self, folder: Path) -> Stored:
        """Store a folder; the manifest is written last, so a tree that exists has all its files."""
        entries: list[Entry] = []
        empty: list[str] = []
        for found in walk(folder):
            if isinstance(found, FoundFile):
                with open_regular(found.real) as source:
                    stored, executable = self._put(source), is_executable(source)
                entries.append(Entry(found.path, stored.digest, stored.size, executable))
            else:
                empty.append(found)
        tree = Tree(tuple(entries), tuple(empty))
        return Stored(self._put(BytesIO(tree.manifest()), suffix=_TREE).digest, tree.size, "tree")

    def exists(self, digest: str) -> bool:
        """Whether the digest is stored, as a file or as a tree."""
        return self._at(digest).exists() or self._at(digest, _TREE).exists()

    def is_tree(self, digest: str) -> bool:
        """Whether the digest was stored as a tree; a file that merely looks like a manifest is not one."""
        return self._at(digest, _TREE).exists()

    def path(self, digest: str) -> Path:
        """Where the bytes (of a tree: its manifest) are. Read only: a write there damages every user of them."""
        for suffix in (_TREE, ""):
            if (place := self._at(digest, suffix)).exists():
                return place
        raise UnknownArtifact(f"the store has no {digest}; it may have been removed: build it again", digest=digest)

    def open(self, digest: str) -> BinaryIO:
        """The bytes (of a tree: its manifest), for reading."""
        return self.path(digest).open("rb")

    def size(self, digest: str) -> int:
        """Bytes of the file, or of all files of the tree."""
        return self.tree(digest).size if self.is_tree(digest) else self.path(digest).stat().st_size

    def tree(self, digest: str) -> Tree:
        """The manifest of a stored tree."""
        try:
            return Tree.from_manifest(self._at(digest, _TREE).read_bytes())
        except FileNotFoundError as error:
            raise UnknownArtifact(f"the store has no tree {digest}", digest=digest) from error

    def entries(self, digest: str) -> tuple[Entry, ...]:
        """The files of a stored tree, sorted by path; open one with `open(entry.digest)`."""
        return self.tree(digest).entries

    def read_entry(self, digest: str, path: str, *, most: int = -1) -> bytes:
        """A file of a stored tree in memory, at most so many bytes of it; only names in the manifest are looked up."""
        for entry in self.entries(digest):
            if entry.path == path:
                with self.open(entry.digest) as source:
                    return source.read(most)
        raise UnknownArtifact(f"{path[:200]!r} is not in the tree {digest}", digest=digest, path=path[:200])

    def materialise(self, digest: str, target: Path, *, link: bool = True) -> None:
        """Lay the file or tree at `target`, which must not exist; a tree appears there whole or not at all.

        Linked files are read-only and share the stored bytes (copied where linking is impossible). Root ignores modes:
        for a tool that writes into its input say `link=False`, which gives private, writable copies."""
        target.parent.mkdir(parents=True, exist_ok=True)
        lay = self._lay_tree if self.is_tree(digest) else self._lay_file
        with raising_store_full(target.parent):
            if lay == self._lay_file and link and self._linked(digest, target):
                return
            partial = target.with_name(f".partial-{secrets.token_hex(8)}")
            try:
                lay(digest, partial, link=link)
                if target.is_symlink() or target.exists():
                    raise _exists(target)
                partial.rename(target)
            except BaseException:
                if partial.is_dir():
                    shutil.rmtree(partial)
                partial.unlink(missing_ok=True)
                raise

    def verify(self, digest: str) -> None:
        """Read everything again; raise `DamagedArtifact` if a byte is not as it was stored, or a file is missing."""
        damaged = [] if self._sound(self.path(digest), digest) else [digest]
        if not damaged and self.is_tree(digest):
            damaged = sorted({entry.path for entry in self.entries(digest) if not self._sound_entry(entry)})
        if damaged:
            detail = f"{digest} is damaged ({', '.join(damaged[:5])}): remove it and build it again"
            raise DamagedArtifact(detail, digest=digest, damaged=damaged)

    def sweep_temp(self, older_than: timedelta) -> int:
        """Remove what writers that died have left; say how many files. A live write touches its file all the time."""
        removed = 0
        for leftover in self._older(self._temp.iterdir(), older_than):
            leftover.unlink(missing_ok=True)
            removed += 1
        return removed

    def collect_garbage(self, reachable: Collection[str], older_than: timedelta) -> int:
        """Remove all that no digest in `reachable` reaches and that was not stored lately; returns the bytes freed.

        `older_than` covers what is stored but not yet known to SQL: storing a digest again makes it young."""
        needed = {checked_digest(digest) for digest in reachable}
        for digest in tuple(needed):
            if self.is_tree(digest):
                needed.update(entry.digest for entry in self.entries(digest))
        freed = 0
        for place in self._older((self.root / "sha256").glob("??/*"), older_than):
            if f"sha256:{place.name.partition('.')[0]}" not in needed:
                freed += self._remove_unless_young(place, older_than)
        return freed

    def _at(self, digest: str, suffix: str = "") -> Path:
        name = checked_digest(digest).removeprefix("sha256:")
        return self.root / "sha256" / name[:2] / f"{name}{suffix}"

    def _put(self, source: BinaryIO, *, suffix: str = "") -> Stored:
        chunk = source.read(_CHUNK)
        if len(chunk) < _CHUNK:
            # The same answers, and a log in which nothing stands, are there already: nothing has to be written.
            digest = f"sha256:{hashlib.sha256(chunk).hexdigest()}"
            if self._made_young(self._at(digest, suffix)):
                return Stored(digest, len(chunk), "file")
        with raising_store_full(self.root):
            descriptor, name = tempfile.mkstemp(dir=self._temp)
            try:
                with os.fdopen(descriptor, "wb") as temp:
                    hashing, size = hashlib.sha256(), 0
                    while chunk:
                        hashing.update(chunk)
                        temp.write(chunk)
                        size += len(chunk)
                        chunk = source.read(_CHUNK)
                    digest = f"sha256:{hashing.hexdigest()}"
                    place = self._at(digest, suffix)
                    if self._made_young(place):
                        return Stored(digest, size, "file")
                    _settle(temp, mode=0o444)
                _publish(Path(name), place, self.root)
            finally:
                Path(name).unlink(missing_ok=True)
        return Stored(digest, size, "file")

    def _made_young(self, place: Path) -> bool:
        try:
            os.utime(place)
        except FileNotFoundError:
            return False
        except PermissionError:  # another user's file: its time cannot be changed, so it is written again
            return False
        return True

    def _executable(self, digest: str) -> Path:
        """The twin of a file that may be executed; made when first asked for."""
        twin = self._at(digest, _EXECUTABLE)
        if not twin.exists():
            descriptor, name = tempfile.mkstemp(dir=self._temp)
            try:
                with self.open(digest) as source, os.fdopen(descriptor, "wb") as temp:
                    shutil.copyfileobj(source, temp, _CHUNK)
                    _settle(temp, mode=0o555)
                _publish(Path(name), twin, self.root)
            finally:
                Path(name).unlink(missing_ok=True)
        return twin

    def _lay_tree(self, digest: str, target: Path, *, link: bool) -> None:
        tree = self.tree(digest)
        target.mkdir()
        for folder in tree.empty_folders:
            (target / folder).mkdir(parents=True)
        for entry in tree.entries:
            (target / entry.path).parent.mkdir(parents=True, exist_ok=True)
            self._lay_file(entry.digest, target / entry.path, link=link, executable=entry.executable)

    def _lay_file(self, digest: str, target: Path, *, link: bool, executable: bool = False) -> None:
        if link and self._linked(digest, target, executable=executable):
            return
        with self.open(digest) as source, target.open("xb") as copy:
            shutil.copyfileobj(source, copy, _CHUNK)
            os.fchmod(copy.fileno(), (0o555 if executable else 0o444) | (0o200 if not link else 0))

    def _linked(self, digest: str, target: Path, *, executable: bool = False) -> bool:
        """Lay a hard link in one step; False where there can be none, so that a copy is needed."""
        try:
            os.link(self._executable(digest) if executable else self._at(digest), target)
        except FileNotFoundError as error:
            raise UnknownArtifact(f"the store has no {digest}: build it again", digest=digest) from error
        except FileExistsError as error:
            raise _exists(target) from error
        except OSError as error:
            if error.errno not in _NO_LINK:
                raise
            return False
        return True

    def _sound(self, place: Path, digest: str) -> bool:
        with place.open("rb") as stored:
            return f"sha256:{hashlib.file_digest(stored, 'sha256').hexdigest()}" == digest

    def _sound_entry(self, entry: Entry) -> bool:
        places = [self._at(entry.digest)]
        if (twin := self._at(entry.digest, _EXECUTABLE)).exists():
            places.append(twin)
        return places[0].exists() and all(self._sound(place, entry.digest) for place in places)

    def _older(self, places: Iterator[Path], age: timedelta) -> Iterator[Path]:
        # The file system's own clock: that of a file server may differ from this host's.
        os.utime(self._temp)
        youngest = self._temp.stat().st_mtime - age.total_seconds()
        for place in places:
            with suppress(FileNotFoundError):
                if place.stat().st_mtime <= youngest:
                    yield place

    def _remove_unless_young(self, place: Path, older_than: timedelta) -> int:
        """Move aside, look again, then remove: a writer may have relied on the file between the first look and now."""
        aside = self._temp / f"{place.name}.doomed"
        with suppress(FileNotFoundError):
            place.rename(aside)
            if not list(self._older(iter([aside]), older_than)):
                aside.rename(place)
                return 0
            size = aside.stat().st_size
            aside.unlink()
            return size
        return 0


def _exists(target: Path) -> TargetExists:
    return TargetExists(f"{target} exists already: choose another place", path=str(target))


def _settle(temp: BinaryIO, *, mode: int) -> None:
    temp.flush()
    os.fchmod(temp.fileno(), mode)
    os.fsync(temp.fileno())


def _publish(settled: Path, place: Path, root: Path) -> None:
    """The name after the bytes, and the name to disk too: a power cut leaves a whole file or none.

    The file is closed by now: one still open for writing cannot be executed ("text file busy")."""
    make_below(root, place.parent)
    settled.rename(place)
    for folder in (place.parent, place.parent.parent):
        _sync_folder(folder)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
