"""The first thing that each process does: forget what others meant for other programs.

Celery, Flower, libpq, HTTP libraries and Python itself read variables of the environment that are named after them, and
a person's shell has those of other projects. Our settings are `TX81_…`; the rest that a service keeps is listed here.
And `api`, `cli` or `workers` is what others call their packages too: neither PYTHONPATH nor the current folder may put
theirs before ours. Only the standard library is imported here, and this module stands below all others.
"""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from tx81.state import PRIVATE

_KEPT = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "TERM", "NO_COLOR"),
        "LD_LIBRARY_PATH",  # an interpreter may need it to find its own library
    }
)
_KEPT_BEGIN_WITH = ("TX81_", "LC_")
umask_of_tools = -1
"""What this process began with, for the vendor's tools that it starts: their files are none of ours. -1: the same."""
_HOME = str(Path(__file__).resolve().parents[1])
"""The folder that our packages are in."""


def service_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """What of `environ` a service is started with: our settings, language, time zone, where programs and files are."""
    return {
        name: value for name, value in environ.items() if name in _KEPT or name.upper().startswith(_KEPT_BEGIN_WITH)
    }


def own_search_path(path: Sequence[str], *, python_path: str, folder: str, home: str = _HOME) -> list[str]:
    """The module search path without the folders of PYTHONPATH and, at its begin, the current `folder`; with `home`."""
    named = {os.path.abspath(entry) for entry in python_path.split(os.pathsep) if entry}
    begin = 1 if path and os.path.abspath(os.path.join(folder, path[0])) == folder else 0
    left = [entry for entry in path[begin:] if entry and os.path.abspath(entry) not in named]
    return left if any(os.path.realpath(entry) == home for entry in left) else [home, *left]


def import_only_ours() -> None:
    """Let this process import from where Python and our packages are, and from nowhere else."""
    ignored = sys.flags.ignore_environment
    python_path = "" if ignored else os.environ.get("PYTHONPATH", "")
    sys.path[:] = own_search_path(sys.path, python_path=python_path, folder=_current_folder())


def begin_service() -> None:
    """Of this process: `import_only_ours`, the environment of a service, and what it makes is its user's alone.

    Before anything else is imported."""
    global umask_of_tools
    import_only_ours()
    umask_of_tools = os.umask(PRIVATE)
    kept = service_environment(os.environ)
    for name in set(os.environ) - set(kept):
        del os.environ[name]


def main() -> None:
    """The command line."""
    import_only_ours()
    import_module("cli.main").main()


def _current_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # it was removed; then nothing can be imported from it
        return ""
