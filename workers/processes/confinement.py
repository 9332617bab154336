"""What a tool may not do that its worker may: another user, limits of the kernel, no way to gain rights.

Without a user of its own (`TX81_TOOL_USER`) a tool can read whatever the worker can; see docs/security.md.
"""

import ctypes
import os
import pwd
import stat
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

_PR_SET_DUMPABLE = 4
_NEEDED = {"CHOWN": 0, "DAC_OVERRIDE": 1, "FOWNER": 3, "KILL": 5, "SETGID": 6, "SETUID": 7}
"""Capabilities without which files cannot be given to another user, or its processes ended (linux/capability.h)."""


class CannotSeparate(ValueError):
    """The user for tools is not known, or this process may not start anything as another user."""


@dataclass(frozen=True)
class ToolUser:
    """The user that tools run as; it has no groups but its own."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Confinement:
    """What a command is started with. `limits` are those of `resource.setrlimit`, by number."""

    user: ToolUser | None
    limits: Mapping[int, int]


def tool_user(name: str) -> ToolUser | None:
    """The user called so; None without a name. CannotSeparate says what is to be corrected."""
    if not name:
        return None
    try:
        found = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
    except KeyError:
        raise CannotSeparate(f"there is no user {name} on this host: create it, or correct TX81_TOOL_USER") from None
    if found.pw_uid in (0, os.geteuid()):
        raise CannotSeparate(f"{name} is root or the worker's own user: name another one in TX81_TOOL_USER")
    if lacking := _lacking():
        raise CannotSeparate(
            f"this process may not run tools as {name}: start the worker as root, or with {', '.join(lacking)}"
        )
    return ToolUser(found.pw_uid, found.pw_gid)


def hide() -> None:
    """Close this process to others of its user: they can neither trace it nor read its memory or environment."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)


def hand_over(work: Path, user: ToolUser) -> None:
    """Let the tool's user write in a working folder that was laid out, but change nothing that is shared.

    Folders become the user's, and copies. Files that are linked elsewhere, in the store, stay the worker's, and so does
    the folder `inputs`, against which results are checked. In the working folder itself the user may add, but not
    remove or replace what is not its own: the log is read again later."""
    for folder in (work.parent.parent, work.parent):
        folder.chmod(stat.S_IMODE(folder.stat().st_mode) | 0o011)
    for where, folders, files in os.walk(work):
        if where == str(work) and "inputs" in folders:
            folders.remove("inputs")
            _open_to_read(work / "inputs")
        for name in folders:
            # Of a link, itself.
            os.lchown(os.path.join(where, name), user.uid, user.gid)
        for name in files:
            path = os.path.join(where, name)
            found = os.lstat(path)
            if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
                os.lchown(path, user.uid, user.gid)
    os.chown(work, -1, user.gid)
    work.chmod(0o1770)


def _open_to_read(folder: Path) -> None:
    """Folders are made by a private umask; files have the mode that the store gives its copies and links."""
    for where, _, _ in os.walk(folder):
        Path(where).chmod(0o755)


def require_way(folder: Path, user: ToolUser) -> None:
    """CannotSeparate names the folder above `folder` through which the user cannot pass."""
    for above in folder.absolute().parents:
        if above.exists():
            found = above.stat()
            shift = 6 if found.st_uid == user.uid else 3 if found.st_gid == user.gid else 0
            if not found.st_mode >> shift & 1:
                raise CannotSeparate(
                    f"user {user.uid} cannot pass through {above}: set TX81_WORK_DIR to a folder that it can reach"
                )


def take_back(work: Path, user: ToolUser) -> None:
    """Remove what the tool's user has left to lead its reader elsewhere, once nothing of the tool runs any more.

    The worker may read more than the tool. So links that lead out of the folder go, and names of files of others, and
    whatever is neither file nor folder."""
    inside = work.resolve()
    for where, folders, files in os.walk(work):
        for name in (*folders, *files):
            path = Path(where, name)
            with suppress(FileNotFoundError):
                if _misleads(path, os.lstat(path), inside, user):
                    path.unlink()


def _misleads(path: Path, found: os.stat_result, inside: Path, user: ToolUser) -> bool:
    own = found.st_uid == user.uid
    if stat.S_ISLNK(found.st_mode):
        return own and not path.resolve().is_relative_to(inside)
    if stat.S_ISDIR(found.st_mode):
        return False
    # Inputs are linked into the store, and are readable for everybody.
    readable = bool(found.st_mode & stat.S_IROTH)
    return not stat.S_ISREG(found.st_mode) or not (own or readable or found.st_nlink == 1)


def _lacking() -> list[str]:
    """The capabilities that this process needs to separate tools, and does not have."""
    with open("/proc/self/status", encoding="ascii", errors="replace") as told:
        held = next((int(line.split()[1], 16) for line in told if line.startswith("CapEff:")), 0)
    return [f"CAP_{name}" for name, bit in _NEEDED.items() if not held >> bit & 1]
