"""Uploads of large files: sent in pieces, resumed after an interruption, and complete before anything uses them.

The name of an upload is the digest that its bytes will have, so that a client that sends the same file again finds the
bytes that have arrived. They are a file below `Settings.models`, and its size is the progress: there is no second
record that could disagree.
"""

import errno
import fcntl
import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Event

from pydantic import Field

from orchestrator.catalog.archives import unpack
from orchestrator.errors import BadRequest, BadSpec, NotFound, OrchestratorError
from orchestrator.model.specs import Digest, Strict
from orchestrator.settings import Settings
from orchestrator.storage.access import open_as
from orchestrator.storage.artifacts import raising_store_full

FORGOTTEN_AFTER = 7 * 24 * 3600.0
"""Seconds after which an upload that was not continued is removed."""

_SCRATCH = "scratch."

_SETTLED = 60.0
"""Seconds after which a scratch folder without a lock is nobody's."""


class UploadRequest(Strict):
    """A file that is going to be sent."""

    digest: Digest = Field(description="Of the whole file.")
    size: int = Field(ge=1, description="Of the whole file, in bytes.")


@dataclass(frozen=True)
class Upload:
    """How far a file has come."""

    digest: str
    size: int
    offset: int

    @property
    def complete(self) -> bool:
        """Whether all its bytes are here."""
        return self.offset == self.size


class WrongOffset(OrchestratorError):
    """The piece does not begin where the last one ended."""

    code = "wrong_offset"


@dataclass(frozen=True)
class Sender:
    """Who sends: only they continue, use or remove what they began, and admins."""

    name: str
    admin: bool = False

    @property
    def mark(self) -> str:
        """In the name of an upload's file."""
        return hashlib.sha256(self.name.encode("utf-8", "surrogatepass")).hexdigest()[:16]


ANYBODY = Sender("", admin=True)


class Uploads:
    """The uploads of an installation; several processes may take pieces at once."""

    def __init__(self, settings: Settings) -> None:
        self._folder = settings.models / ".uploads"
        self._models = settings.models
        self._most = settings.max_upload_bytes

    def begin(self, request: UploadRequest, sender: Sender = ANYBODY) -> Upload:
        """Make room for a file, or find how far it has come; BadRequest if it is larger than uploads may be."""
        if request.size > self._most:
            raise BadRequest(f"an upload may have at most {self._most} bytes; see TX81_MAX_UPLOAD_BYTES", field="size")
        self._forget_old()
        self._folder.mkdir(parents=True, exist_ok=True)
        with suppress(NotFound):
            there = self.state(request.digest, sender)
            if there.size != request.size:
                raise BadRequest(
                    f"a file with this digest was announced with {there.size} bytes; delete that upload first",
                    field="size",
                )
            return there
        path = self._folder / f"{request.digest.removeprefix('sha256:')}.{sender.mark}.{request.size}"
        with raising_store_full(self._folder):
            path.touch(mode=0o600)
        return self.state(request.digest, sender)

    def state(self, digest: str, sender: Sender = ANYBODY) -> Upload:
        """How far the file has come; NotFound if nobody began it, or too long ago."""
        path = self._find(digest, sender)
        return Upload(digest, _size_of(path), path.stat().st_size)

    def append(self, digest: str, offset: int, piece: bytes, sender: Sender = ANYBODY) -> Upload:
        """Add the bytes that begin at `offset`; WrongOffset says where the next piece has to begin."""
        path = self._find(digest, sender)
        with path.open("r+b") as part, raising_store_full(self._folder):
            # Another request may be writing the same piece: one after the other, and the second gets an error.
            fcntl.flock(part, fcntl.LOCK_EX)
            there, size = os.fstat(part.fileno()).st_size, _size_of(path)
            if offset != there:
                raise WrongOffset(f"{there} bytes have arrived: continue at offset {there}", offset=there)
            if there + len(piece) > size:
                raise BadRequest(f"the piece ends after the {size} bytes that were announced", field="Upload-Offset")
            try:
                part.seek(there)
                part.write(piece)
                part.flush()
                os.fsync(part.fileno())
            except OSError:
                os.ftruncate(part.fileno(), there)
                raise
        return self.state(digest, sender)

    def discard(self, digest: str, sender: Sender = ANYBODY) -> None:
        """Remove an upload; nothing if there is none."""
        with suppress(NotFound):
            self._find(digest, sender).unlink(missing_ok=True)

    def folder_of(self, digest: str, name: str, sender: Sender = ANYBODY, *, gone: Event | None = None) -> Path:
        """The folder with the content of a whole upload, unpacked for a model called `name`; NotWanted once `gone`.

        The same archive gives the same folder, so that asking again after a crash goes on where it was. BadSpec if
        the upload is not whole, does not have its digest (then it has to be sent again), or is no archive.
        """
        target = self._models / f"{name}-{digest.removeprefix('sha256:')[:12]}"
        if target.is_dir():
            return target
        with (
            self.unpacked(digest, sender, gone=gone) as content,
            raising_store_full(self._folder),
            suppress(FileExistsError),
        ):
            open_as(self._models, content)
            # Another request was faster and unpacked the same.
            _rename_new(content, target)
        return target

    def content(self, digest: str, sender: Sender = ANYBODY, *, most_bytes: int) -> bytes:
        """The bytes of a whole upload; BadSpec if it is larger, not whole, or does not have its digest."""
        upload = self._whole(digest, sender)
        if upload.size > most_bytes:
            raise BadSpec(f"a text file may have at most {most_bytes >> 20} MiB", field="upload")
        content = self._find(digest, sender).read_bytes()
        self._compare(digest, f"sha256:{hashlib.sha256(content).hexdigest()}", sender)
        return content

    @contextmanager
    def unpacked(self, digest: str, sender: Sender = ANYBODY, *, gone: Event | None = None) -> Iterator[Path]:
        """The content of a whole upload as a folder, for as long as the block runs; BadSpec as in `folder_of`."""
        self._whole(digest, sender)
        self._check(digest, sender)
        with self.unpacked_archive(self._find(digest, sender), gone=gone) as content:
            yield content

    @contextmanager
    def unpacked_archive(self, archive: Path, *, gone: Event | None = None) -> Iterator[Path]:
        """The content of a .tar or .tar.gz as a folder, for as long as the block runs; NotWanted once `gone`."""
        with self.scratch() as folder:
            with raising_store_full(self._folder):
                content = unpack(archive, folder / "content", most_bytes=self._most, gone=gone)
            yield content

    @contextmanager
    def scratch(self) -> Iterator[Path]:
        """An empty folder where big files may lie for as long as the block runs.

        It is locked meanwhile: what a process that died has left there is known by that, and removed."""
        self._forget_old()
        folder = self._folder / f"{_SCRATCH}{secrets.token_hex(8)}"
        with raising_store_full(self._folder):
            folder.mkdir(parents=True)
        lock = None
        try:
            with suppress(OSError):  # a file server without locks on folders: it is removed when it is old
                lock = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)
            if lock is not None:
                os.close(lock)

    def _find(self, digest: str, sender: Sender) -> Path:
        """The file of an upload; NotFound also for what another began. An admin's own comes first."""
        found = sorted(self._folder.glob(f"{digest.removeprefix('sha256:')}.*"))
        own = [path for path in found if sender.mark in path.name.split(".")] or (found if sender.admin else [])
        if not own:
            raise NotFound(f"there is no upload {digest} of yours: begin it again: tx81 models upload", upload=digest)
        return own[0]

    def _check(self, digest: str, sender: Sender) -> None:
        with self._find(digest, sender).open("rb") as whole:
            found = f"sha256:{hashlib.file_digest(whole, 'sha256').hexdigest()}"
        self._compare(digest, found, sender)

    def _whole(self, digest: str, sender: Sender) -> Upload:
        upload = self.state(digest, sender)
        if not upload.complete:
            raise BadSpec(
                f"only {upload.offset} of {upload.size} bytes of the upload have arrived: send the rest", field="upload"
            )
        return upload

    def _compare(self, digest: str, found: str, sender: Sender) -> None:
        if found != digest:
            self.discard(digest, sender)
            raise BadSpec(f"the bytes that came are {found}, not {digest}: send the file again", field="upload")

    def _forget_old(self) -> None:
        if self._folder.is_dir():
            for path in self._folder.iterdir():
                with suppress(OSError):
                    age = time.time() - path.stat().st_mtime
                    if age > FORGOTTEN_AFTER or (age > _SETTLED and _is_left_behind(path)):
                        shutil.rmtree(path) if path.is_dir() else path.unlink()


def _is_left_behind(path: Path) -> bool:
    """Whether it is a scratch folder of a process that is not there any more."""
    if not path.name.startswith(_SCRATCH):
        return False
    lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    finally:
        os.close(lock)
    return True


def _size_of(path: Path) -> int:
    return int(path.name.rpartition(".")[2])


def _rename_new(content: Path, target: Path) -> None:
    """Rename a folder to a name that nothing has; FileExistsError if something has."""
    try:
        content.rename(target)
    except OSError as trouble:
        if trouble.errno in (errno.ENOTEMPTY, errno.EEXIST):
            raise FileExistsError(trouble.errno, "it is there", str(target)) from None
        raise
