"""Text files that people hand in (prompts, goldens): read with a size limit, and named safely."""

from pathlib import Path

from orchestrator.errors import BadSpec, PathRefused
from orchestrator.results.text_files import FILE_LIMIT

LONGEST_NAME = 180
"""Bytes; a file system takes 255, and tools add to a name."""


def read_text_file(path: Path, field: str) -> bytes:
    """The bytes of a file that people write; PathRefused or BadSpec if they cannot be had, or are too many."""
    try:
        with path.open("rb") as stream:
            content = stream.read(FILE_LIMIT + 1)
    except OSError as trouble:
        raise PathRefused(f"{path} cannot be read: {trouble.strerror}", field=field) from None
    if len(content) > FILE_LIMIT:
        raise BadSpec(f"{path.name} is larger than {FILE_LIMIT >> 20} MiB", field=field)
    return content


def safe_name(path: Path) -> str:
    """A file name that no tool can take for a flag, short enough for every file system, which count its bytes."""
    cleaned = "".join(c if c.isalnum() or c in "._-" else "_" for c in path.name)[:100].lstrip("-.")
    return cleaned.encode()[:LONGEST_NAME].decode("utf-8", "ignore") or "file"
