"""Which version this is, and from which commit it was installed."""

import json
from contextlib import suppress
from pathlib import Path

_NAME = "tx81-orchestrator"


def version() -> str:
    """`0.1.0 (commit 0123abc)`; the commit is left out where nothing says which it is."""
    commit = _commit_of_checkout() or _commit_of_installation()
    from importlib.metadata import distribution  # with `subprocess` a third of the time of `tx81 --help`

    return f"{distribution(_NAME).version}{f' (commit {commit})' if commit else ''}"


def _commit_of_checkout() -> str | None:
    """Of the source tree that runs, `-dirty` if it was changed since."""
    folder = Path(__file__).resolve().parents[1]
    if not (folder / ".git").exists():
        return None
    import subprocess

    with suppress(OSError, subprocess.SubprocessError):
        asked = ["git", "-C", str(folder), "describe", "--always", "--dirty", "--abbrev=12", "--exclude=*"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=5).stdout.strip() or None
    return None


def _commit_of_installation() -> str | None:
    """What pip noted of an installation from a repository (PEP 610)."""
    from importlib.metadata import distribution

    with suppress(ValueError, KeyError, TypeError):
        noted = distribution(_NAME).read_text("direct_url.json")
        return str(json.loads(noted)["vcs_info"]["commit_id"])[:12] if noted else None
    return None
