"""When the files of a folder were last written."""

from collections.abc import Iterator
from pathlib import Path


def written_ns(path: Path) -> int:
    """When a file in it was last written: rewriting a file does not change the time of its folder."""
    return max((entry.lstat().st_mtime_ns for entry in _all_of(path)), default=0)


def _all_of(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir() and not path.is_symlink():
        yield from path.rglob("*")
