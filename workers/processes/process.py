"""Run one command to its end: the only place in the product that starts a vendor tool.

The tool writes its log file itself, by its own descriptor; the file is watched for growth, never piped
through us. Above the tool stands a small shim (`workers.processes.shim`) that owns its whole tree: when `run` returns,
nothing of the tree is alive that can be killed, and when this process dies instead, the shim kills the tree
on its own. A `Shim` that is kept for many runs saves each of them the start of an interpreter.

All limits go by the monotonic clock: setting the host's clock changes nothing.
"""

import os
import select
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from workers.processes.confinement import Confinement
from workers.processes.shim import Plan
from workers.processes.tree import Shim, Tree

_TICK = 0.2
"""Seconds between two looks at the limits. A stop request does not wait for it."""

_KERNEL_PATIENCE = timedelta(seconds=5)
"""The least time between SIGKILL and calling a process unkillable: freeing a large memory takes a while."""


@dataclass(frozen=True)
class Command:
    """What to start. Nothing is inherited: `env` is the whole environment, and its PATH finds `argv[0]`."""

    argv: tuple[str, ...]
    env: Mapping[str, str]
    cwd: Path
    messenger: tuple[str, ...] = ()
    """Where what is started only stands for processes elsewhere: the command, with the path of its program, that takes
    a signal to those; the signal's number becomes its last word."""
    confinement: Confinement | None = None
    """What it may not do; None where it may do what we may."""


@dataclass(frozen=True)
class KillStep:
    """One rung of the kill ladder: send `signal` to every process of the tree, then wait at most `grace`.

    SIGKILL always ends a ladder, named or not. Its grace is how long the kernel may take before a process
    (one that hangs in a driver, one of another user) is reported as unkillable; never less than 5 s."""

    signal: int
    grace: timedelta


@dataclass(frozen=True)
class Limits:
    """When to stop a tool that does not end; None is never.

    run        since the start
    silence    since the log file last changed its size
    log_bytes  size of the log file, with what it held before. A tool that floods it to twice that size while
               it is being stopped gets SIGKILL at once: a full disk hurts every slot of the host."""

    run: timedelta | None = None
    silence: timedelta | None = None
    log_bytes: int | None = None


class StopReason(StrEnum):
    """Why a tool was not allowed to end by itself."""

    CANCELLED = "cancelled"
    RUN_LIMIT = "run_limit"
    SILENCE = "silence"
    LOG_LIMIT = "log_limit"
    LEASE_LOST = "lease_lost"
    SHUTDOWN = "shutdown"
    WRONG_CARDS = "wrong_cards"
    STOPPED = "stopped"  #: A server, gracefully.
    NOT_READY = "not_ready"  #: A server that did not come to serve in time.


@dataclass(frozen=True)
class Outcome:
    """How a command ended.

    exit_code     None if it ended by a signal, never ran, or could not be killed
    signal        the signal that ended it, asked for or not
    stopped       None if it had ended by itself before a stop reached it
    started_at    wall clock, UTC
    seconds       from start to the end of the tool itself; the sweep of its strays is not in it
    pid           of the tool; 0 if it never ran
    strays        processes that outlived the tool and had to be signalled
    unkillable    processes that outlived even SIGKILL: whatever they hold is not free
    launch_error  why the tool never ran, for a person to read"""

    exit_code: int | None
    signal: int | None
    stopped: StopReason | None
    started_at: datetime
    seconds: float
    pid: int
    strays: int
    unkillable: tuple[int, ...]
    launch_error: str | None


class StopSignal:
    """Asks a run to stop, from any thread or signal handler; the runner wakes at once.

    It belongs to one attempt: every later `run` with the same signal ends before it starts anything."""

    def __init__(self) -> None:
        # Re-entrant, for a signal handler that interrupts `request` in the same thread.
        self._lock = threading.RLock()
        self._reason: StopReason | None = None
        self._by: str | None = None
        self._kill_at: float | None = None
        self._wakers: set[int] = set()

    @property
    def reason(self) -> StopReason | None:
        """The first reason that was given; later ones change nothing."""
        return self._reason

    @property
    def by(self) -> str | None:
        """Who gave the first reason, if that is known and not in SQL anyway."""
        return self._by

    @property
    def overdue(self) -> bool:
        """Whether the time that a request left for the kill ladder has run out."""
        return self._kill_at is not None and time.monotonic() >= self._kill_at

    def request(self, reason: StopReason, *, within: timedelta | None = None, by: str | None = None) -> None:
        """Stop the tool; `within` cuts the ladder short, with SIGKILL when that time is over.

        The shortest `within` of all requests holds, so a lost lease can shorten a cancellation in progress."""
        with self._lock:
            if self._reason is None:
                self._reason, self._by = reason, by
            if within is not None:
                kill_at = time.monotonic() + within.total_seconds()
                self._kill_at = min(kill_at, self._kill_at or kill_at)
            for waker in self._wakers:
                os.eventfd_write(waker, 1)

    @contextmanager
    def waking(self) -> Iterator[int]:
        """A descriptor that becomes readable with each request while the block lasts."""
        waker = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        with self._lock:
            self._wakers.add(waker)
        try:
            yield waker
        finally:
            with self._lock:
                self._wakers.remove(waker)
            os.close(waker)


def run(
    command: Command,
    *,
    log: Path,
    limits: Limits,
    ladder: Sequence[KillStep],
    keep_fds: Sequence[int] = (),
    stop: StopSignal,
    shim: Shim | None = None,
    on_started: Callable[[int], None] | None = None,
    settle: timedelta = timedelta(0),
    on_growth: Callable[[int], None] | None = None,
) -> Outcome:
    """Start the command, see it to its end or stop it, and return when its whole tree is gone.

    The log is appended to. `keep_fds` stay open in the tool under their numbers, so that a survivor of
    everything still holds their locks. Without a `shim` the run has one of its own. `on_started` gets the
    tool's pid, but not that of a tool whose tree is gone before `settle` is over; `on_growth` gets the size of
    the log. Both are called in the calling thread; if one raises, the tree is killed first and the exception
    then goes on.

    A tool that cannot be launched is an Outcome; OSError (no log file, no process) and ShimLostError are
    faults of this host. ShimBusyError is the caller's: the shim has a run already.
    """
    if stop.reason is not None:
        return _report({}, reason=stop.reason, command=command, started_at=datetime.now(UTC), seconds=0.0)
    above = Shim.start() if shim is None else nullcontext(shim)
    with above as lent, _opened(log) as log_fd, stop.waking() as waker:
        started_at, began = datetime.now(UTC), time.monotonic()
        with lent.tree(_plan(command, ladder, keep_fds), log_fd=log_fd) as tree:
            watch = _Watch(tree, limits=limits, stop=stop, log_fd=log_fd, began=began, on_growth=on_growth)
            ended = _follow(tree, watch, waker=waker, on_started=on_started, settled_at=began + settle.total_seconds())
        reason = stop.reason if tree.told_to_stop else None
        return _report(tree.facts, reason=reason, command=command, started_at=started_at, seconds=ended - began)


def _follow(
    tree: Tree, watch: "_Watch", *, waker: int, on_started: Callable[[int], None] | None, settled_at: float
) -> float:
    """Attend to the tree until the shim has said its last word; returns when the tool itself ended."""
    poll = select.poll()
    poll.register(waker, select.POLLIN)
    poll.register(tree.status, select.POLLIN)
    ended: float | None = None
    while True:
        watch.look()
        unsettled = settled_at - time.monotonic()
        if on_started is not None and tree.pid and unsettled <= 0:
            on_started(tree.pid)
            on_started = None
        ready = {fd for fd, _ in poll.poll((unsettled if 0 < unsettled < _TICK else _TICK) * 1000)}
        if waker in ready:
            with suppress(BlockingIOError):
                os.eventfd_read(waker)
        if tree.status not in ready:
            continue
        if not tree.listen():
            watch.look()
            return ended or time.monotonic()
        if tree.tool_ended:
            ended = ended or time.monotonic()


class _Watch:
    """The limits of one run and how close it is to them."""

    def __init__(
        self,
        tree: Tree,
        *,
        limits: Limits,
        stop: StopSignal,
        log_fd: int,
        began: float,
        on_growth: Callable[[int], None] | None,
    ) -> None:
        self._tree = tree
        self._limits = limits
        self._stop = stop
        self._log_fd = log_fd
        self._began = began
        self._on_growth = on_growth
        self._size = os.fstat(log_fd).st_size
        self._grown_at = began

    def look(self) -> None:
        """Note growth, and pass on a stop that was asked for or has become due."""
        now = time.monotonic()
        size = os.fstat(self._log_fd).st_size
        if size != self._size:
            self._size, self._grown_at = size, now
            if self._on_growth is not None:
                self._on_growth(size)
        if not self._tree.tool_ended:
            over = _overrun(self._limits, running=now - self._began, silent=now - self._grown_at, size=size)
            if over is not None:
                self._stop.request(over)
            if self._stop.reason is not None:
                self._tree.stop()
        flooded = self._limits.log_bytes is not None and size > 2 * self._limits.log_bytes
        if self._stop.reason is not None and (flooded or self._stop.overdue):
            self._tree.kill()


def _overrun(limits: Limits, *, running: float, silent: float, size: int) -> StopReason | None:
    if limits.log_bytes is not None and size > limits.log_bytes:
        return StopReason.LOG_LIMIT
    if limits.run is not None and running > limits.run.total_seconds():
        return StopReason.RUN_LIMIT
    if limits.silence is not None and silent > limits.silence.total_seconds():
        return StopReason.SILENCE
    return None


def _plan(command: Command, ladder: Sequence[KillStep], keep_fds: Sequence[int]) -> Plan:
    # Bytes, because the shim may take the file system to have another encoding than we do.
    gentle = [step for step in ladder if step.signal != signal.SIGKILL]
    patience = max([_KERNEL_PATIENCE, *(step.grace for step in ladder if step.signal == signal.SIGKILL)])
    return (
        [os.fsencode(word) for word in command.argv],
        {os.fsencode(name): os.fsencode(value) for name, value in command.env.items()},
        os.fsencode(command.cwd),
        [(int(step.signal), step.grace.total_seconds()) for step in gentle]
        + [(int(signal.SIGKILL), patience.total_seconds())],
        list(keep_fds),
        [os.fsencode(word) for word in command.messenger],
        _confined(command.confinement),
    )


def _confined(confinement: Confinement | None) -> tuple[list[int], list[tuple[int, int]]] | None:
    if confinement is None:
        return None
    user = [] if confinement.user is None else [confinement.user.uid, confinement.user.gid]
    return user, sorted(confinement.limits.items())


def _report(
    facts: Mapping[str, Any],
    *,
    reason: StopReason | None,
    command: Command,
    started_at: datetime,
    seconds: float,
) -> Outcome:
    return Outcome(
        exit_code=facts.get("exit_code"),
        signal=facts.get("signal"),
        stopped=reason if facts.get("stopped", True) else None,
        started_at=started_at,
        seconds=seconds,
        pid=int(facts.get("started", 0)),
        strays=int(facts.get("strays", 0)),
        unkillable=tuple(facts.get("unkillable", ())),
        launch_error=_launch_error(facts, command),
    )


def _launch_error(facts: Mapping[str, Any], command: Command) -> str | None:
    match facts.get("step"):
        case None:
            return None
        case "chdir":
            what = f"cannot enter the working folder {str(command.cwd)!r}"
        case "descriptors":
            what = "cannot pass the log and the inherited descriptors"
        case _:
            what = f"cannot execute {command.argv[0]!r}" if command.argv else "cannot execute an empty command"
    return f"{what}: {os.strerror(facts['launch_errno'])}"


@contextmanager
def _opened(log: Path) -> Iterator[int]:
    # No following of a link that an earlier step of the attempt may have put there.
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
    fd = os.open(log, flags, 0o644)
    try:
        yield fd
    finally:
        os.close(fd)
