"""Who may read what several hosts or users share: as the folder at its top says, whatever the umask of a process is.

Services are private by their umask. The artifact store and the uploaded models may be there for workers that run as
other users: then the one who sets up makes that folder with the mode it is to have, and all below follows.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path


def make_below(top: Path, folder: Path) -> None:
    """Make `folder`, and what is missing between `top` and it, each with the mode of `top`."""
    if folder == top or folder.is_dir():
        folder.mkdir(parents=True, exist_ok=True)
        return
    make_below(top, folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:
        return  # another process was faster, and gives it its mode
    folder.chmod(_mode(top))


def open_as(top: Path, tree: Path) -> None:
    """Give a new tree, folder by folder and file by file, the access that `top` gives."""
    mode = _mode(top)
    tree.chmod(mode)
    for where, folders, files in os.walk(tree):
        _open(where, folders, mode)
        _open(where, files, mode & 0o666)


def _open(where: str, names: Iterable[str], mode: int) -> None:
    for name in names:
        os.chmod(os.path.join(where, name), mode)


def _mode(top: Path) -> int:
    return stat.S_IMODE(top.stat().st_mode)
