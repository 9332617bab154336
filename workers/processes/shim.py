"""The parent of a vendor tool: its whole tree of processes dies with the attempt or the worker, whatever it tries.

A script of its own, run as `python -S -E -I shim.py WORKER_PID`; it imports nothing of ours, because it must
be up within milliseconds. Its descriptor 0 is the link, a unix stream socket. The worker sends a plan at a
time (`tree.send`), with these descriptors:

control  orders from the worker (`STOP`, `KILL_NOW`). End of file means that the worker has given the attempt
         up, or is gone itself, whichever of its threads started the shim. (The kernel's parent-death signal
         alone would not do: it follows the *thread* that forked.)
status   to the worker: JSON, one fact a line, in this order:
         `{"started": PID}` once the tool runs, or `{"launch_errno": N, "step": "descriptors" | "chdir" | "exec"}`;
         `{"exit_code": N, "stopped": B}` or `{"signal": N, "stopped": B}` when the tool itself has ended
         (B: the ladder had begun);
         `{"strays": N, "unkillable": [PID, …]}`, always last. End of file without this line: the shim was killed.
log      becomes descriptors 1 and 2 of the tool; 0 is empty
kept     get the numbers in the tool that the plan gives them

The tool inherits no other descriptor, and the shim keeps none of these once the attempt is over; log and kept
ones not even while it lasts, so that a lock is free when the tool and the worker are done with it.

Nobody escapes by `setsid` or a double fork: the shim is a subreaper, so every orphan below it becomes its
child. Hence *no child left* means *no descendant left*, and the next attempt starts with an empty tree. A shim
that cannot get there, or that was asked to terminate, ends, and closes the link before the last status line
can be acted upon. Only SIGKILL on the shim itself parts it from the tree; the tool then dies by its own
parent-death signal.
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # `signal` without enumerations, which cost more than its calls
import ctypes
import errno
import marshal
import os
import resource
import select
import signal
import socket
import sys
import time
import warnings  # noqa: F401  # os.execvpe does, too late: the tool's user may not read our interpreter
from collections.abc import Collection, Sequence

STOP = b"s"
"""Order: run the kill ladder."""

KILL_NOW = b"k"
"""Order: run the ladder, and shorten the rest of it before SIGKILL."""

Confined = tuple[list[int], list[tuple[int, int]]]
"""User and group of the tool, or none, and the limits of the kernel by their numbers."""

Ladder = list[tuple[int, float]]
Plan = tuple[list[bytes], dict[bytes, bytes], bytes, Ladder, list[int], list[bytes], Confined | None]
"""Argv, environment, working folder, ladder of (signal, seconds of grace) ending with SIGKILL, numbers of the kept,
messenger, and what the tool may not do. The messenger is empty, or a command (with the path of its program) that sends
a signal, its last argument, to where we have no descendants; then the tool itself gets SIGKILL alone."""

_PR_SET_PDEATHSIG = 1
_PR_SET_DUMPABLE, _PR_SET_CHILD_SUBREAPER, _PR_SET_NO_NEW_PRIVS = 4, 36, 38
_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL = 47, 4
_PARENT_DIED = signal.SIGUSR1
_RESCAN = 0.2  # seconds; only for a process born between two looks at /proc
LENGTH = 8  # bytes before the plan that say how long it is
_MESSENGER = 10.0  # seconds for one signal to be taken elsewhere
_MOST_DESCRIPTORS = 253  # that one message carries: SCM_MAX_FD of the kernel
_ALL_SIGNALS = signal.valid_signals()  # once: it takes 0.1 ms
_DEFAULTED = _ALL_SIGNALS - {signal.SIGKILL, signal.SIGSTOP}
_TERMINATE = frozenset({signal.SIGHUP, signal.SIGINT, signal.SIGTERM})
_ZERO = ctypes.c_ulong(0)
_libc = ctypes.CDLL(None, use_errno=True)


def _receive(link: socket.socket) -> tuple[Plan, list[int]] | None:
    """None if the worker has closed the link, or ended while it wrote."""
    wanted, received = LENGTH, b""
    descriptors: list[int] = []
    while len(received) < wanted:
        # Not socket.recv_fds: it ignores its flags in Python 3.11, and the descriptors would be inheritable.
        piece, passed_on, _, _ = link.recvmsg(
            wanted - len(received), socket.CMSG_SPACE(4 * _MOST_DESCRIPTORS), socket.MSG_CMSG_CLOEXEC
        )
        if not piece:
            return None
        descriptors += [fd for _, _, data in passed_on for fd in memoryview(data).cast("i")]
        received += piece
        if wanted == len(received) == LENGTH:
            wanted += int.from_bytes(received, "big")
    plan: Plan = marshal.loads(received[LENGTH:])  # noqa: S302  (from our own worker, over an anonymous socket)
    return plan, descriptors


def descendants(root: int) -> list[int]:
    """The living processes below `root`, parents before their children; zombies are dead.

    One look at /proc: a process whose parent ends at this very moment may be missed, so look again before
    relying on "none"."""
    children: dict[int, list[int]] = {}
    living = set()
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb", buffering=0) as stat:
                # The name of the program stands in parentheses and may hold spaces and parentheses itself.
                fields = stat.read(4096).rpartition(b")")[2].split()
        except OSError:
            continue
        children.setdefault(int(fields[1]), []).append(int(name))
        # A leader that has ended shows as a zombie while its other threads work on.
        if fields[0] not in b"ZX" or int(fields[17]) > 1:
            living.add(int(name))
    found = children.get(root, [])
    for pid in found:  # and those added on the way
        found += children.pop(pid, [])
    return [pid for pid in found if pid in living]


class Supervisor:
    """One tool from launch to the last of its descendants; everything it waits for comes through `_wait`."""

    def __init__(self, plan: Plan, descriptors: Sequence[int], *, worker: int, wake: int) -> None:
        self._argv, self._env, self._cwd, self._ladder, numbers, self._messenger, self._confined = plan
        self._control, self._status, log, *kept = descriptors
        self._passed_on = dict(zip(numbers, kept, strict=True)) | {1: log, 2: log}
        self._worker = worker
        self._wake = wake
        self._tool = 0
        self._under_way = 0
        self._tool_ended = False
        self._childless = False
        self._terminated = False
        self._stopping = os.getppid() != worker
        self._hurried = False
        self._strays: set[int] = set()
        self._launch, self._launch_report = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self._poll = select.poll()
        for fd in (self._control, self._launch, self._wake):
            self._poll.register(fd, select.POLLIN)

    def run(self) -> bool:
        """Start the tool, wait for its end or for an order, leave no process, report how it ended.

        True if the next attempt may follow."""
        self._start()
        while not self._tool_ended and not self._stopping:
            self._wait(None)
        self._reap()
        if not self._childless:
            self._walk_the_ladder()
        if self._messenger and self._stopping:
            # Nobody may be left to look there: the worker is perhaps what has died.
            self._send_elsewhere(signal.SIGKILL)
        unkillable = [] if self._childless else descendants(os.getpid())
        self._tell(f'{{"strays": {len(self._strays)}, "unkillable": {unkillable}}}')
        return self._childless and not self._terminated

    def close(self) -> None:
        """Report the end to the worker."""
        os.close(self._control)
        os.close(self._status)

    def _start(self) -> None:
        shim = os.getpid()
        # Until the child has its own dispositions, a signal to it would land in our wake-up pipe.
        _signal.pthread_sigmask(_signal.SIG_SETMASK, _ALL_SIGNALS)
        self._tool = os.fork()
        if self._tool == 0:
            self._become_the_tool(shim)
        for fd in {self._launch_report, *self._passed_on.values()}:
            os.close(fd)
        _signal.pthread_sigmask(_signal.SIG_SETMASK, ())

    def _become_the_tool(self, shim: int) -> None:
        """Never returns."""
        step = "descriptors"
        try:
            os.setsid()
            for number in _DEFAULTED:
                if _signal.getsignal(number) not in (_signal.SIG_DFL, None):
                    _signal.signal(number, _signal.SIG_DFL)
            _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
            self._take_descriptors()
            step = "confinement"
            if self._confined is not None:
                _confine(*self._confined)
            # Not before: the kernel forgets it when the user changes.
            _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            if os.getppid() != shim:
                os._exit(127)
            step = "chdir"
            os.chdir(self._cwd)
            step = "exec"
            # A path is not searched for, which takes Python a tenth of the whole start.
            execute = os.execve if b"/" in self._argv[0] else os.execvpe
            execute(self._argv[0], self._argv, self._env)
        except Exception as trouble:
            reason = getattr(trouble, "errno", None) or errno.EINVAL
            os.write(self._launch_report, f'{{"launch_errno": {reason}, "step": "{step}"}}'.encode())
        finally:
            os._exit(127)

    def _take_descriptors(self) -> None:
        wanted = {0: os.open(os.devnull, os.O_RDONLY)} | self._passed_on
        # A source, or the pipe for our own trouble, may sit on a number that is wanted for another.
        self._launch_report = _aside(self._launch_report, wanted)
        for number, fd in {number: _aside(fd, wanted) for number, fd in wanted.items()}.items():
            os.dup2(fd, number)

    def _wait(self, seconds: float | None) -> None:
        ready = {fd for fd, _ in self._poll.poll(None if seconds is None else max(0.0, seconds) * 1000)}
        if self._launch in ready:
            self._see_launch()
        if self._control in ready:
            self._obey(os.read(self._control, 64))
        if self._wake in ready:
            self._heed(os.read(self._wake, 4096))

    def _see_launch(self) -> None:
        """The pipe closes by itself when exec succeeds."""
        if self._launch < 0:
            return
        trouble = os.read(self._launch, 4096).decode()
        self._poll.unregister(self._launch)
        os.close(self._launch)
        self._launch = -1
        self._tell(trouble or f'{{"started": {self._tool}}}')
        # Its exit code 127 would be ours, not the tool's.
        self._tool_ended = bool(trouble)

    def _obey(self, orders: bytes) -> None:
        self._reap()  # What has ended by then was not stopped, even if its end was not reported yet.
        self._stopping = True
        self._hurried = self._hurried or KILL_NOW in orders
        if not orders:
            self._poll.unregister(self._control)

    def _heed(self, signals: bytes) -> None:
        if signal.SIGCHLD in signals:
            self._reap()
        if _PARENT_DIED in signals and os.getppid() != self._worker:
            self._stopping = True
        if _TERMINATE.intersection(signals):
            self._stopping = self._terminated = True

    def _reap(self) -> None:
        """Bury every dead child, adopted ones too: a long run must not fill the process table with zombies."""
        while not self._childless:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self._childless = True
                return
            if pid == 0:
                return
            if pid == self._under_way:
                self._under_way = 0
            if pid == self._tool:
                self._see_launch()
                self._see_end(os.waitstatus_to_exitcode(status))

    def _see_end(self, code: int) -> None:
        if self._tool_ended:
            return
        self._tool_ended = True
        how = f'"exit_code": {code}' if code >= 0 else f'"signal": {-code}'
        self._tell(f'{{{how}, "stopped": {"true" if self._stopping else "false"}}}')

    def _walk_the_ladder(self) -> None:
        for number, grace in self._ladder:
            deadline = time.monotonic() + grace
            kills = number == signal.SIGKILL
            self._send(number)
            while not self._childless and (kills or not self._hurried):
                left = deadline - time.monotonic()
                if left <= 0:
                    break
                self._wait(min(left, _RESCAN))
                if kills:
                    # Those born while we looked, or a moment before their parent died.
                    self._send(number)

    def _send_elsewhere(self, number: int) -> None:
        """Returns when the signal has arrived, or nothing can wait any longer. It also arrives when we are killed."""
        command, self._childless = [*self._messenger, b"%d" % number], False
        empty = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDWR, 0)]  # in the place of the link
        try:
            self._under_way = os.posix_spawn(
                command[0], command, self._env, file_actions=empty, setsid=True, setsigmask=(), setsigdef=_DEFAULTED
            )
        except OSError:
            self._reap()
            return
        give_up = time.monotonic() + _MESSENGER
        while self._under_way and time.monotonic() < give_up:
            self._wait(_RESCAN)
        if self._under_way:
            os.kill(self._under_way, signal.SIGKILL)
            self._wait(_RESCAN)
        self._reap()

    def _send(self, number: int) -> None:
        self._reap()
        if self._messenger and not self._childless:
            self._send_elsewhere(number)
            if number != signal.SIGKILL:
                return
        # Parents first: the tool shall end by this signal, not by an error about the death of its child.
        for pid in () if self._childless else descendants(os.getpid()):
            if self._tool_ended and pid != self._tool:
                self._strays.add(pid)
            try:
                os.kill(pid, number)
                # A stopped process acts on nothing but SIGKILL until it is continued.
                os.kill(pid, signal.SIGCONT)
            except OSError:
                continue  # gone, or not ours to kill (set-id): then it is reported as unkillable

    def _tell(self, fact: str) -> None:
        try:
            os.write(self._status, fact.encode() + b"\n")
        except OSError:
            self._stopping = True  # no reader is left


def _confine(user: list[int], limits: list[tuple[int, int]]) -> None:
    """Give up what the tool may not do, for this process and all that it starts; no limit is above our own."""
    for number, value in limits:
        most = resource.getrlimit(number)[1]
        resource.setrlimit(number, (value if most == resource.RLIM_INFINITY else min(value, most),) * 2)
    _prctl(_PR_CAP_AMBIENT, _PR_CAP_AMBIENT_CLEAR_ALL)
    if user:
        uid, gid = user
        os.setgroups([])
        os.setresgid(gid, gid, gid)
        os.setresuid(uid, uid, uid)
    _prctl(_PR_SET_NO_NEW_PRIVS, 1)


def _prctl(option: int, value: int) -> None:
    if _libc.prctl(option, ctypes.c_ulong(value), _ZERO, _ZERO, _ZERO) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _aside(fd: int, wanted: Collection[int]) -> int:
    """A copy of `fd` with an unused number, or itself; the old one closes with exec."""
    while fd in wanted:
        fd = os.dup(fd)
    return fd


def _stand_guard() -> int:
    """Returns the descriptor from which to read the numbers of the signals that came."""
    wake, wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
    signal.set_wakeup_fd(wake_write, warn_on_full_buffer=False)
    for number in (signal.SIGCHLD, *_TERMINATE, _PARENT_DIED):
        signal.signal(number, lambda *_: None)  # the byte in the wake-up pipe is what counts
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)
    _prctl(_PR_SET_DUMPABLE, 0)
    # Beside the link, in case a fork of the worker holds its other end open.
    _prctl(_PR_SET_PDEATHSIG, _PARENT_DIED)
    return wake


def _next_attempt(link: socket.socket, *, worker: int, wake: int) -> tuple[Plan, list[int]] | None:
    """None if there will be no other: the worker has closed the link or died, or somebody terminated us."""
    poll = select.poll()
    poll.register(link, select.POLLIN)
    poll.register(wake, select.POLLIN)
    while True:
        orphaned = os.getppid() != worker
        ready = {fd for fd, _ in poll.poll(0 if orphaned else None)}
        # Before a plan: one that is left unread is a fault, one that is begun and stopped looks like a failure.
        if wake in ready and _TERMINATE.intersection(os.read(wake, 4096)):
            return None
        if link.fileno() in ready:
            return _receive(link)
        if orphaned:
            return None


def main(worker: int) -> None:
    """Serve one attempt after the other; the link is ours alone and never reaches a tool."""
    wake = _stand_guard()
    with socket.socket(fileno=0) as link:
        while attempt := _next_attempt(link, worker=worker, wake=wake):
            supervisor = Supervisor(*attempt, worker=worker, wake=wake)
            fit = supervisor.run()
            if not fit:
                # Before the worker can see the end, so that it does not send the next plan to a dead process.
                link.close()
            supervisor.close()
            if not fit:
                break


if __name__ == "__main__":
    main(int(sys.argv[1]))
