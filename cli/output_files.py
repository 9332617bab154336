"""Files that commands write: whole or not at all, and never over another one unless the command says so."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import BinaryIO, cast

from cli.session import Stop


def require_new(file: Path) -> None:
    """`Stop` if the value of `-o` exists, or if its folder does not."""
    if file.exists() or file.is_symlink():
        raise Stop(f"-o: {file} exists; choose another path")
    if not file.absolute().parent.is_dir():
        raise Stop(f"-o: folder {file.absolute().parent} does not exist; create it first")


@contextmanager
def new_file(file: Path) -> Iterator[BinaryIO]:
    """A stream into a file that appears when the block has ended without an error; `Stop` if it exists by then."""
    with NamedTemporaryFile(dir=file.absolute().parent, prefix=".tx81-", delete=False) as draft:
        try:
            yield cast(BinaryIO, draft)
            draft.flush()
            os.link(draft.name, file)
        except FileExistsError:
            raise Stop(f"-o: {file} exists; choose another path") from None
        finally:
            Path(draft.name).unlink(missing_ok=True)


def require_writable(file: Path | None, option: str) -> None:
    """`Stop` if the file could not be written in the end, before anything is begun."""
    if file is not None and (file.is_dir() or not file.absolute().parent.is_dir()):
        raise Stop(f"{option}: {file} cannot be written: its folder does not exist, or it is a folder itself")


def replace_file(file: Path, content: bytes) -> None:
    """Write a file, also over an existing one, whole or not at all."""
    fresh = file.with_name(f".{file.name}.part")
    try:
        fresh.write_bytes(content)
        fresh.replace(file)
    finally:
        fresh.unlink(missing_ok=True)
