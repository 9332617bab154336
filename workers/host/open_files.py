"""Which processes of this host have certain files open, and what its other workers have seen of that lately.

The kernel lists open files one by one, for one process at a time, so a scan costs as much as all processes of the
host have open. Workers that need one at about the same time share it.
"""

import fcntl
import functools
import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

Identity = tuple[int, int]
"""What a file is, wherever its path leads: a device node's number, of any other file its file system and inode."""

_MOST_BYTES = 1 << 16
"""Maximum size of a shared scan; if more is open, each worker scans by itself."""

_PATIENCE = 0.1
"""Seconds that a scan takes on the busiest host; a process that takes longer has been stopped."""

_LOOK_AGAIN = 0.004
"""Seconds between two tries while another worker looks."""


@dataclass(frozen=True)
class Look:
    """Who had which of the `wanted` files open, as seen at `began` by the monotonic clock or later."""

    began: float
    names: frozenset[str]
    """One of which an open file had to have; of another profile, the same node may have another."""
    wanted: frozenset[Identity]
    opened: Mapping[int, frozenset[Identity]]
    """By process; who has none of them open is left out."""
    unseen: int
    """Processes of others that we may not look into."""

    def covers(self, files: Mapping[Path, Identity]) -> bool:
        """Whether a process that had one of these open would have been seen."""
        return self.wanted.issuperset(files.values()) and self.names.issuperset(path.name for path in files)


def look(files: Mapping[Path, Identity], pids: Iterable[int] | None = None) -> Look:
    """Which of these processes (or of all) have which of these files open."""
    began = time.monotonic()
    names, wanted = frozenset(path.name for path in files), frozenset(files.values())
    opened: dict[int, frozenset[Identity]] = {}
    unseen = 0
    if not files:
        return Look(began, names, wanted, opened, unseen)
    for pid in _processes() if pids is None else pids:
        try:
            held = _opened(pid, names, wanted)
        except PermissionError:
            unseen += 1
            continue
        except OSError:  # it has ended
            continue
        if held:
            opened[pid] = held
    return Look(began, names, wanted, opened, unseen)


def identity(path: str | Path, folder: int | None = None) -> Identity | None:
    """What a file is; None if there is none. `path` may be relative to the descriptor of a folder."""
    try:
        found = os.stat(path, dir_fd=folder)
    except OSError:
        return None
    return (-1, found.st_rdev) if stat.S_ISCHR(found.st_mode) else (found.st_dev, found.st_ino)


class SharedLooks:
    """The newest look of those workers of this host that see the same processes as we do.

    It lies in a file that nobody but our own user can have written. Nothing depends on it: who finds none looks, and
    who stands still in the middle of a look holds nobody up for long."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / f"look-{_view()}"

    def look(
        self, files: Callable[[], Mapping[Path, Identity]], *, since: float, enough: Callable[[Look], bool]
    ) -> tuple[Look, bool]:
        """A look that began at `since` or later, and whether it is another worker's: that one if it is `enough`,
        or else our own.

        While another one looks, its end is waited for: it may be enough, and looking all at once would take longer."""
        give_up = time.monotonic() + _PATIENCE
        told = self.newest(since=since)
        while told is None or not enough(told):
            with self._turn() as ours:
                newer = self.newest(since=since)
                if newer is not None and newer != told and enough(newer):
                    return newer, True
                if ours or time.monotonic() >= give_up:
                    seen = look(files())
                    self.tell(seen)
                    return seen, False
            time.sleep(_LOOK_AGAIN)
        return told, True

    def newest(self, *, since: float) -> Look | None:
        """The newest look, unless it began before `since`."""
        with suppress(OSError, ValueError, KeyError), self._open(os.O_RDONLY) as file:
            about = os.fstat(file.fileno())
            mark, _, body = file.read(_MOST_BYTES).partition(b"\n")[0].partition(b" ")
            if about.st_uid == os.geteuid() and not about.st_mode & 0o022 and mark == _mark(body):
                told = _read(body)
                return told if since <= told.began <= time.monotonic() else None
        return None

    def tell(self, seen: Look) -> None:
        """Let the others know."""
        body = _written(seen)
        if len(body) < _MOST_BYTES // 2:
            # The end of a longer one stays behind the line. What is written half is known by its mark.
            with suppress(OSError), self._open(os.O_WRONLY | os.O_CREAT) as file:
                file.write(_mark(body) + b" " + body + b"\n")

    @contextmanager
    def _turn(self) -> Iterator[bool]:
        """Whether no other process scans, for the block; True if unknown."""
        with ExitStack() as held:
            try:
                file = held.enter_context(self._open(os.O_WRONLY | os.O_CREAT))
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            except OSError:
                pass
            yield True

    def _open(self, flags: int) -> IO[bytes]:
        # No following of links: the folder of locks may be one that others can write to.
        descriptor = os.open(self._path, flags | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o600)
        return os.fdopen(descriptor, "rb" if flags == os.O_RDONLY else "wb", buffering=0)


def _opened(pid: int, names: Collection[str], wanted: Collection[Identity]) -> frozenset[Identity]:
    """Those that a process has open; PermissionError if it is not ours to look into."""
    if _COUNTED and os.stat(f"/proc/{pid}/fd").st_size == 0:
        return frozenset()  # one of the kernel's own, of which there are hundreds
    # Read by its descriptor: there are thousands of links to follow on a busy host, before and after every attempt.
    folder = os.open(f"/proc/{pid}/fd", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        found = [_named(descriptor, folder, names) for descriptor in os.listdir(folder)]
    finally:
        os.close(folder)
    return frozenset(one for one in found if one is not None and one in wanted)


def _named(descriptor: str, folder: int, names: Collection[str]) -> Identity | None:
    """What is open there, if it has one of these names."""
    try:
        name = os.readlink(descriptor, dir_fd=folder).rpartition("/")[2].removesuffix(" (deleted)")
    except OSError:
        return None
    # Only what has a node's name is looked at: a file of a network server that is away would hang us.
    return identity(descriptor, folder) if name in names else None


def _processes() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


_COUNTED = os.stat("/proc/self/fd").st_size > 0
"""Whether this kernel (6.2 or later) reports the number of open files as the size of the folder."""


@functools.cache
def _view() -> str:
    """The same for all who see the same processes, may look into the same ones, and go by the same clock."""
    seen = [line for line in Path("/proc/self/status").read_text().splitlines() if "CapEff" in line]
    try:
        seen += [Path("/proc/sys/kernel/random/boot_id").read_text(), str(os.geteuid())]
    except OSError:
        seen.append(f"only process {os.getpid()}")  # A look from before the last start of the host proves nothing.
    for namespace in ("pid", "time"):
        with suppress(OSError):
            seen.append(os.readlink(f"/proc/self/ns/{namespace}"))
    return _mark("\n".join(seen).encode()).decode()


def _mark(content: bytes) -> bytes:
    return hashlib.sha256(content).hexdigest()[:16].encode()


def _written(seen: Look) -> bytes:
    opened = {pid: sorted(held) for pid, held in seen.opened.items()}
    told = {"began": seen.began, "wanted": sorted(seen.wanted), "opened": opened, "unseen": seen.unseen}
    return json.dumps({**told, "names": sorted(seen.names)}).encode()


def _read(body: bytes) -> Look:
    told = json.loads(body)
    opened = {int(pid): frozenset(map(tuple, held)) for pid, held in told["opened"].items()}
    wanted = frozenset(map(tuple, told["wanted"]))
    return Look(told["began"], frozenset(told["names"]), wanted, opened, told["unseen"])
