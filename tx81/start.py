"""The first step of each process: remove environment variables and import paths that belong to other programs.

Celery, Flower, libpq, HTTP libraries and Python itself read their own environment variables, and a user's shell has
those of other projects. Our settings are `TX81_…`; the other variables that a service keeps are listed here. And other
projects also have packages called `api`, `cli` or `workers`: neither PYTHONPATH nor the current folder may put theirs
before ours. Only the standard library is imported here, and this module is the lowest layer.
"""

import gc
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from pathlib import Path

from tx81.parts import lacking
from tx81.state import PRIVATE

_KEPT = frozenset(
    {
        *("PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "TERM", "NO_COLOR"),
        "LD_LIBRARY_PATH",  # an interpreter may need it to find its own library
    }
)
_KEPT_BEGIN_WITH = ("TX81_", "LC_")
umask_of_tools = -1
"""The umask with which this process started, for the vendor's tools, whose files are not ours. -1: unchanged."""
is_command_line = False
"""Whether this process is `tx81`, which needs few of the documents and must start fast: their validators are built at
first use. Services build them at the start, where an error is seen."""
_HOME = str(Path(__file__).resolve().parents[1])
"""The folder with our packages."""


def service_environment(environ: Mapping[str, str]) -> dict[str, str]:
    """The part of `environ` that a service gets: our settings, language, time zone, locations of programs and files."""
    return {
        name: value for name, value in environ.items() if name in _KEPT or name.upper().startswith(_KEPT_BEGIN_WITH)
    }


def own_search_path(path: Sequence[str], *, python_path: str, folder: str, home: str = _HOME) -> list[str]:
    """The module search path without the folders of PYTHONPATH and without the current `folder` at its start; with
    `home`."""
    named = {os.path.abspath(entry) for entry in python_path.split(os.pathsep) if entry}
    begin = 1 if path and os.path.abspath(os.path.join(folder, path[0])) == folder else 0
    left = [entry for entry in path[begin:] if entry and os.path.abspath(entry) not in named]
    return left if any(os.path.realpath(entry) == home for entry in left) else [home, *left]


def import_only_ours() -> None:
    """Let this process import only from the folders of Python and of our packages."""
    ignored = sys.flags.ignore_environment
    python_path = "" if ignored else os.environ.get("PYTHONPATH", "")
    sys.path[:] = own_search_path(sys.path, python_path=python_path, folder=_current_folder())


def begin_service() -> None:
    """Prepare this process: `import_only_ours`, the environment of a service, and files that only its user can access.

    Call it before anything else is imported, and `modules_loaded` afterwards: until then no garbage is collected. Where
    the packages of services are not installed, the process ends here with one line and code 2."""
    global umask_of_tools
    gc.disable()
    import_only_ours()
    if trouble := lacking("a service", "server"):
        print(f"tx81: {trouble}", file=sys.stderr)
        sys.exit(2)
    umask_of_tools = os.umask(PRIVATE)
    kept = service_environment(os.environ)
    for name in set(os.environ) - set(kept):
        del os.environ[name]


def modules_loaded() -> None:
    """Collect garbage from now on, but not among what the modules hold, which stays as long as the process.

    Looking through it again and again takes an eighth of a start, and most of each later full collection."""
    gc.freeze()
    gc.enable()


def main() -> None:
    """The command line."""
    global is_command_line
    is_command_line = True
    import_only_ours()
    # Ctrl-C while modules are imported would show where: until then it ends the process as the shell expects.
    python = signal.getsignal(signal.SIGINT)
    if python is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    command_line = import_module("cli.main")
    signal.signal(signal.SIGINT, python)
    command_line.main()


def _current_folder() -> str:
    try:
        return os.getcwd()
    except FileNotFoundError:  # the folder was removed, so nothing can be imported from it
        return ""
