"""Unpacks untrusted archives so that nothing is written outside the target folder."""

import os
import shutil
import tarfile
import tempfile
import zlib
from pathlib import Path, PurePosixPath

from orchestrator.errors import BadRequest, BadSpec

MOST_MEMBERS = 100_000

_STAGING = ".tx81-unpacking-"
"""Prefix of folders that an interrupted unpacking leaves."""


def unpack(archive: Path, target: Path, *, most_bytes: int) -> Path:
    """Unpack a .tar or .tar.gz into the new folder `target`; returns the folder that holds its files.

    That is `target`, or the one folder in it that holds everything else. Only files and folders are taken: a link, a
    device or a pipe has no place in a model, and one name that leads out refuses the whole archive. BadSpec says what
    is wrong with it; then, as after any other error, `target` may hold what came before.
    """
    target.mkdir(parents=True)
    try:
        with tarfile.open(archive, mode="r|*", encoding="utf-8", errors="strict") as opened:
            _take_all(opened, target, most_bytes)
    except (tarfile.TarError, EOFError, UnicodeDecodeError, zlib.error) as trouble:
        raise BadSpec(f"not a complete .tar or .tar.gz: {trouble}", field="upload") from None
    entries = list(target.iterdir())
    if not entries:
        raise BadSpec("the archive is empty", field="upload")
    return entries[0] if len(entries) == 1 and entries[0].is_dir() else target


def _take_all(opened: tarfile.TarFile, target: Path, most_bytes: int) -> None:
    left, taken = most_bytes, 0
    for member in opened:
        taken += 1
        left -= member.size
        if left < 0 or taken > MOST_MEMBERS:
            raise BadRequest(
                f"the archive holds more than {most_bytes} bytes or {MOST_MEMBERS} files; see TX81_MAX_UPLOAD_BYTES",
                field="upload",
            )
        place = target / _checked(member)
        if member.isdir():
            place.mkdir(parents=True, exist_ok=True)
            continue
        content = opened.extractfile(member)
        assert content is not None, "only regular files get here"
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            # "x": a second member of the same name would write through whatever the first one was.
            with content, place.open("xb") as written:
                shutil.copyfileobj(content, written, 1 << 20)
        except FileExistsError:
            raise BadSpec(f"the archive holds {member.name!r} twice", field="upload") from None


def _checked(member: tarfile.TarInfo) -> PurePosixPath:
    """Where a member goes below the target; BadSpec if it is no file or folder, or would leave it."""
    name = PurePosixPath(member.name)
    if not (member.isreg() or member.isdir()):
        raise BadSpec(
            f"{member.name!r} in the archive is a link or a special file; pack it with: tar --dereference",
            field="upload",
        )
    if name.is_absolute() or ".." in name.parts or "\0" in member.name:
        raise BadSpec(f"{member.name!r} in the archive is a path outside its folder", field="upload")
    return name


def unpack_over(archive: Path, root: Path, *, most_bytes: int) -> None:
    """Unpack a .tar or .tar.gz over what is in `root`, with its links and modes: a package that is trusted as a whole.

    Each file is replaced in one step, so that no process reads half of it, and is never written through a link. Names
    and links that lead out of `root`, absolute links and special files refuse it. BadSpec says what is wrong with it;
    then, as after any other error, some of it may be there.
    """
    for left_behind in root.glob(f"{_STAGING}*"):
        shutil.rmtree(left_behind)
    try:
        with (
            tarfile.open(archive, mode="r:*", encoding="utf-8", errors="surrogateescape") as opened,
            # No name in the archive can be in the way there.
            tempfile.TemporaryDirectory(prefix=_STAGING, dir=root) as staging,
        ):
            left = most_bytes
            for member in opened:
                left -= member.size
                if left < 0:
                    raise BadSpec(f"{archive.name} has more than {most_bytes} bytes, the free space")
                _put(opened, tarfile.data_filter(member, str(root)), root, Path(staging) / "fresh")
    except tarfile.FilterError as trouble:
        raise BadSpec(f"{archive.name} is not unpacked: {trouble}") from None
    except (tarfile.TarError, EOFError, zlib.error) as trouble:
        raise BadSpec(f"{archive.name} is not a complete .tar or .tar.gz: {trouble}") from None


def _put(opened: tarfile.TarFile, member: tarfile.TarInfo, root: Path, fresh: Path) -> None:
    place = root / member.name
    if member.isdir():
        place.mkdir(parents=True, exist_ok=True)
        return
    place.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        fresh.symlink_to(member.linkname)
    elif member.islnk():
        os.link(root / member.linkname, fresh, follow_symlinks=False)
    else:
        content = opened.extractfile(member)
        assert content is not None, "the filter lets nothing else pass"
        with content, fresh.open("xb") as written:
            shutil.copyfileobj(content, written, 1 << 20)
        fresh.chmod(0o644 if member.mode is None else member.mode)
    fresh.replace(place)
    # Two names of one file: replacing one by the other does nothing.
    fresh.unlink(missing_ok=True)
