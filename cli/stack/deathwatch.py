"""Become another program that dies with its parent: `python -I -S deathwatch.py PARENT_PID PROGRAM ARG…`.

An executable of its own, because code between fork and exec in a process with threads may deadlock. The kernel sends
the signal when the *thread* that started this process ends, keeps this setting across exec, and does not pass it on to
children of the program. SIGKILL, since a program may ignore other signals.
"""

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1  # <linux/prctl.h>


def main() -> None:
    """Set the parent-death signal, check that the parent is still alive, exec the program (exit code 127: not
    found)."""
    parent, program = int(sys.argv[1]), sys.argv[2:]
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"cannot set the parent-death signal: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != parent:
        sys.exit("the parent has already ended")
    for ignored_by_python in (signal.SIGPIPE, signal.SIGXFSZ):  # an ignored signal stays ignored across exec
        signal.signal(ignored_by_python, signal.SIG_DFL)
    try:
        os.execvp(program[0], program)  # noqa: S606  # to be replaced without a shell is the purpose
    except OSError as error:
        print(f"cannot start {program[0]}: {error.strerror}", file=sys.stderr)
        sys.exit(127)


if __name__ == "__main__":
    main()
