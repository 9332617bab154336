"""Behaviour that all emulated vendor tools share: flags, printed lines, exit codes.

Exit codes: 0 done; 1 the work failed (busy card, device error, compiler); 2 the call was wrong (flag, path,
config.json, environment); 130 interrupted by SIGINT, with the cards closed. SIGTERM is not caught: it kills, as for
the real tools. Only the server uses both signals for its regular end.
"""

import argparse
import io
import os
import re
import signal
import sys
from collections.abc import Callable, Sequence
from typing import Any, cast

CONDA = "CONDA_DEFAULT_ENV"


class ToolError(Exception):
    """The tool stops with `exit_code` and the message as its last line."""

    exit_code = 1


class Refused(ToolError):
    """The call itself is wrong; nothing was touched."""

    exit_code = 2


class Failed(ToolError):
    """The call was right and the work did not succeed."""


class Parser(argparse.ArgumentParser):
    """Knows every flag in both spellings (`--model-path`, `--model_path`) and no abbreviation of any."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog=prog, allow_abbrev=False)

    def flag(self, *names: str, **options: Any) -> None:
        """Add one flag; a long name may be given in either spelling."""
        spellings = [spelling for name in names for spelling in _spellings(name)]
        self.add_argument(*dict.fromkeys(spellings), **options)


def _spellings(name: str) -> list[str]:
    if not name.startswith("--"):
        return [name]
    word = name[2:]
    return [name, "--" + word.replace("-", "_"), "--" + word.replace("_", "-")]


def between(low: int, high: int) -> Callable[[str], int]:
    """The type of a flag that takes a whole number within limits."""

    def number(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {low} to {high}")
        return int(text)

    return number


def say(line: str) -> None:
    """Print one line and push it out at once, so that a live log has something to show."""
    print(line, flush=True)


def complain(line: str) -> None:
    """Print one line to the error stream."""
    print(line, file=sys.stderr, flush=True)


def require_conda(*allowed: str) -> None:
    """Refuse an activated conda environment that is not one of `allowed`; none activated is fine."""
    active = os.environ.get(CONDA, "")
    if active and active not in allowed:
        raise Refused(f"conda environment is {active}; run: conda activate {allowed[0]}")


def run(main: Callable[[Sequence[str]], int]) -> int:
    """Call `main` with the command line and turn what it raises into an exit code."""
    for stream in (sys.stdout, sys.stderr):
        # A log is UTF-8 whatever the locale, and no answer may end a run because a terminal cannot show it.
        cast(io.TextIOWrapper, stream).reconfigure(encoding="utf-8", errors="backslashreplace")
    try:
        return main(sys.argv[1:])
    except ToolError as error:
        complain(f"error: {error}")
        return error.exit_code
    except KeyboardInterrupt:
        complain("interrupted")
        return 128 + signal.SIGINT
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OSError as error:
        complain(f"error: {error}")
        return 1
