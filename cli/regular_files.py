"""Files that a person names are read only if they are regular: opening a pipe or a device could wait without end.

What the shell has opened already is read whatever it is: `tx81 submit <(jinja2 job.yaml)`."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_OPENED = (Path("/dev/fd"), Path("/proc/self/fd"))
"""Where a shell's process substitution has its pipe."""


def open_regular(path: Path) -> BinaryIO:
    """The file, open to be read; OSError says what it is if it is neither a regular file nor opened by the shell."""
    if path.parent in _OPENED and path.name.isascii() and path.name.isdecimal():
        return os.fdopen(os.dup(int(path.name)), "rb")
    opened = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    kind = os.fstat(opened).st_mode
    if not stat.S_ISREG(kind):
        os.close(opened)
        if stat.S_ISDIR(kind):
            raise IsADirectoryError(errno.EISDIR, "it is a folder", str(path))
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))
    return os.fdopen(opened, "rb")
