"""Flower's password: random, created at the first start, in a file that only its user can read."""

import os
import secrets
from pathlib import Path

USER = "tx81"
FILE = "password"
"""Name of the file in Flower's folder."""


def password_in(folder: Path) -> str:
    """The password stored in `folder`, created if there is none; complete even if two processes start at once."""
    file = folder / FILE
    partial = folder / f".{FILE}.{os.getpid()}"
    if not file.exists():
        partial.unlink(missing_ok=True)
        with os.fdopen(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600), "w") as stream:
            stream.write(f"{secrets.token_urlsafe(24)}\n")
        try:
            os.link(partial, file)
        except FileExistsError:
            pass  # another process was faster: its password is used
        finally:
            partial.unlink()
    file.chmod(0o600)
    return file.read_text("ascii").strip()
