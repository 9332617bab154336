"""Runs a set of processes: started in order, kept running, stopped in order, with no process left.

One thread of the supervisor starts, watches and stops every child; the caller's thread stays free (the demo works in
it). It must be one long-lived thread: the kernel kills a child when the thread that started it ends, which is how no
child outlives even a SIGKILL of the supervisor. A child must end its own children.
"""

import fcntl
import os
import re
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, IntEnum
from graphlib import TopologicalSorter
from pathlib import Path
from types import FrameType, TracebackType
from typing import Any, Self

from tx81.start import service_environment
from tx81.state import private_state

_DEATHWATCH = Path(__file__).with_name("deathwatch.py")
_TICK = 0.05
_LOOK_AT_LOGS = 1.0
MOST_LOG_BYTES = 16 * 1024 * 1024
"""Size of a service's log at which it is rotated; the log rotated before is deleted then."""
_SETTLED = 60.0
"""Seconds after which a restarted service counts as healthy again, and its back-off starts again."""
_UNKILLABLE = 5.0
"""Seconds to wait for a killed process; one that hangs in the kernel (a device) is not waited for any longer."""
_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class StackError(Exception):
    """The stack cannot be started or kept running; the text gives the reason and the remedy."""


class ServiceFailed(StackError):
    """A service ended, or did not become ready in time, and cannot be started again."""

    def __init__(self, service: str, reason: str, *, log: Path, tail: str) -> None:
        super().__init__(f"{service} {reason}; the end of {log}:\n{tail or '(it wrote nothing)'}")
        self.service = service
        self.log = log


class AlreadyRunning(StackError):
    """Another stack uses this state folder."""

    def __init__(self, state: Path, pid: str) -> None:
        super().__init__(f"already running in {state}, pid {pid}: stop it, or choose another state folder")
        self.pid = pid


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """One process of the stack: how to start it, check it and stop it."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str] = field(default_factory=dict)
    """Added to the part of the supervisor's environment that a service gets."""
    cwd: Path | None = None
    ready: Callable[[], bool] | None = None
    """Called repeatedly until it returns true: it must answer within a second and never raise. None means ready once
    started."""
    ready_within: timedelta = timedelta(seconds=60)
    stop_signal: signal.Signals = signal.SIGTERM
    stop_grace: timedelta = timedelta(seconds=10)
    """Time between the stop signal and SIGKILL."""
    needs: tuple[str, ...] = ()
    """The services after which it is started, and before which it is stopped."""
    restart: bool = True
    """Restart it when it dies; otherwise the stack ends with it."""


class What(Enum):
    """The kinds of events of a service."""

    STARTED = "started"
    READY = "ready"
    DIED = "died"
    RESTARTING = "restarting"
    STOPPING = "stopping"
    STOPPED = "stopped"
    KILLED = "killed"


@dataclass(frozen=True, slots=True)
class ServiceEvent:
    """One event of a service; `detail` is for a person."""

    service: str
    what: What
    pid: int
    detail: str = ""


class _Wish(IntEnum):
    RUN = 0
    STOP = 1
    KILL = 2


def in_order(services: Sequence[Service]) -> list[Service]:
    """The services, each after those it needs; ValueError for a name that is used twice, unknown or not valid as a file
    name."""
    by_name = {service.name: service for service in services}
    if len(by_name) != len(services):
        raise ValueError("two services have one name")
    for service in services:
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9_.-]*", service.name):
            raise ValueError(f"{service.name!r} cannot be the name of a log file")
        if unknown := set(service.needs) - set(by_name):
            raise ValueError(f"{service.name} needs {', '.join(sorted(unknown))}, which does not exist")
    sorter = TopologicalSorter({service.name: service.needs for service in services})
    return [by_name[name] for name in sorter.static_order()]  # CycleError is a ValueError


def restart_delay(deaths: int) -> float:
    """Seconds before the next start after this number of deaths in a row: 0.5, 1, 2 … 30."""
    return float(min(0.5 * 2 ** (deaths - 1), 30.0)) if deaths < 10 else 30.0


def ending_of(returncode: int) -> str:
    """How a process ended, in words."""
    return f"was killed by {signal.Signals(-returncode).name}" if returncode < 0 else f"ended with exit {returncode}"


@contextmanager
def sole_user_of(state: Path) -> Iterator[None]:
    """Lock the state folder for this process; `AlreadyRunning` names the process that has it."""
    private_state(state)
    with (state / "stack.lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise AlreadyRunning(state, lock.read().strip() or "unknown") from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


class _Child:
    """One service's process, if it has one, and data about its earlier processes."""

    def __init__(self, service: Service, log: Path) -> None:
        self.service = service
        self.log = log
        self.process: subprocess.Popen[bytes] | None = None
        self.pid = 0
        self.ready = False
        self.was_ready = False
        self.deaths = 0
        self.start_at = 0.0
        self.started_at = 0.0
        self.kill_at: float | None = None
        self.killed_at: float | None = None
        self._log_start = 0

    def start(self, now: float) -> None:
        service = self.service
        with self.log.open("ab") as output:
            self._log_start = output.tell()
            self.process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_DEATHWATCH), str(os.getpid()), *service.argv],
                env=service_environment(os.environ) | dict(service.env),
                cwd=service.cwd,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid = self.process.pid
        self.started_at = now

    def ended(self) -> int | None:
        """The exit code once the process has ended; the rest of its process group is killed."""
        if self.process is None:
            return None
        if os.waitid(os.P_PID, self.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is None:
            return None
        self.kill()  # before the wait: until then no other process group can get this number
        code = self.process.wait()
        self.process = None
        return code

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    def bound_log(self) -> None:
        """Rotate a log that is too large: its contents go to NAME.log.1, which is replaced.

        The process continues to write to the same file, which is now empty; lines written at that moment may be
        lost."""
        with suppress(OSError):
            if self.log.stat().st_size > MOST_LOG_BYTES:
                shutil.copyfile(self.log, self.log.with_name(f"{self.log.name}.1"))
                os.truncate(self.log, 0)
                self._log_start = 0

    def tail(self) -> str:
        """The last lines that the latest process wrote."""
        with self.log.open("rb") as log:
            log.seek(max(self._log_start, log.seek(0, os.SEEK_END) - 8192))
            return "\n".join(log.read().decode(errors="replace").splitlines()[-20:])


class Supervisor:
    """Runs services; `with Supervisor(…) as stack:` has all of them ready inside and none left after it.

    In the main thread, SIGINT, SIGTERM and SIGHUP interrupt the body (as KeyboardInterrupt) and stop the stack in
    order; a second one kills it at once. `on_event` is called in the supervising thread, in the order of events."""

    def __init__(self, services: Sequence[Service], log_dir: Path, on_event: Callable[[ServiceEvent], object]) -> None:
        log_dir.mkdir(parents=True, exist_ok=True)
        self._children = [_Child(service, log_dir / f"{service.name}.log") for service in in_order(services)]
        self._on_event = on_event
        # Plain attribute, written by signal handlers: an Event's lock may be held by the code that they interrupt.
        self._wish = _Wish.RUN
        self._up = threading.Event()
        self._over = threading.Event()
        self._failure: BaseException | None = None
        self._thread = threading.Thread(target=self._supervise, name="supervisor")
        self._handlers: dict[int, Any] = {}

    def run(self) -> None:
        """Start, keep running until a stop signal, stop; raises `ServiceFailed`."""
        with suppress(KeyboardInterrupt), self:
            self.wait()

    def wait(self) -> None:
        """Return when the stack has ended; raises the error that ended it."""
        self._over.wait()
        if self._failure:
            raise self._failure

    def stop(self) -> None:
        """Stop all services, dependent ones first, and return when they have ended."""
        self._wish = max(self._wish, _Wish.STOP)
        self._thread.join()

    def __enter__(self) -> Self:
        if threading.current_thread() is threading.main_thread():
            self._handlers = {number: signal.signal(number, self._interrupted) for number in _ENDING}
        self._thread.start()
        try:
            self._up.wait()
            if self._failure:
                raise self._failure
        except BaseException:
            self.__exit__(*sys.exc_info())
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        if self._failure and kind is None:
            raise self._failure

    def _interrupted(self, number: int, frame: FrameType | None) -> None:
        if self._wish is not _Wish.RUN:
            self._wish = _Wish.KILL
            return
        self._wish = _Wish.STOP
        raise KeyboardInterrupt

    def _supervise(self) -> None:
        try:
            bounded_at = time.monotonic()
            while self._wish is _Wish.RUN:
                for child in self._children:
                    self._look_after(child, time.monotonic())
                if time.monotonic() - bounded_at > _LOOK_AT_LOGS:
                    bounded_at = time.monotonic()
                    for child in self._children:
                        child.bound_log()
                if all(child.ready for child in self._children):
                    self._up.set()
                time.sleep(_TICK)
        except BaseException as error:  # any error: the caller must get it, and no child may stay
            self._failure = error
        finally:
            try:
                self._stop_all()
            finally:
                self._up.set()
                self._over.set()

    def _look_after(self, child: _Child, now: float) -> None:
        if child.process is None:
            if now >= child.start_at and all(needed.ready for needed in self._needed_by(child)):
                child.start(now)
                self._tell(child, What.STARTED)
        elif (code := child.ended()) is not None:
            self._after_death(child, ending_of(code), now)
        elif child.ready:
            if now - child.started_at > _SETTLED:
                child.deaths = 0
        elif child.service.ready is None or child.service.ready():
            child.ready = child.was_ready = True
            self._tell(child, What.READY, f"after {now - child.started_at:.1f} s")
        elif now - child.started_at > child.service.ready_within.total_seconds():
            child.kill()  # a restarted service is tried again, like any other that died
            if not child.was_ready:
                raise self._failed(child, f"was not ready within {child.service.ready_within.total_seconds():g} s")

    def _after_death(self, child: _Child, ending: str, now: float) -> None:
        child.ready = False
        self._tell(child, What.DIED, ending)
        if not child.was_ready:
            raise self._failed(child, f"{ending} before it was ready")
        if not child.service.restart:
            raise self._failed(child, ending)
        child.deaths += 1
        delay = restart_delay(child.deaths)
        child.start_at = now + delay
        self._tell(child, What.RESTARTING, f"in {delay:g} s")

    def _stop_all(self) -> None:
        while running := [child for child in self._children if child.process]:
            needed = {name for child in running for name in child.service.needs}
            for child in running:
                if self._wish is _Wish.KILL or child.service.name not in needed:
                    self._end(child, time.monotonic())
            time.sleep(_TICK)

    def _end(self, child: _Child, now: float) -> None:
        if (code := child.ended()) is not None:
            self._tell(child, What.STOPPED, ending_of(code))
        elif child.killed_at is not None:
            if now - child.killed_at > _UNKILLABLE:
                self._tell(child, What.KILLED, "but it hangs in the kernel and cannot be removed")
                child.process = None
        elif self._wish is _Wish.KILL or (child.kill_at is not None and now >= child.kill_at):
            child.killed_at = now
            child.kill()
            self._tell(child, What.KILLED)
        elif child.kill_at is None:
            child.kill_at = now + child.service.stop_grace.total_seconds()
            os.kill(child.pid, child.service.stop_signal)
            self._tell(child, What.STOPPING)

    def _needed_by(self, child: _Child) -> list[_Child]:
        return [other for other in self._children if other.service.name in child.service.needs]

    def _failed(self, child: _Child, reason: str) -> ServiceFailed:
        return ServiceFailed(child.service.name, reason, log=child.log, tail=child.tail())

    def _tell(self, child: _Child, what: What, detail: str = "") -> None:
        self._on_event(ServiceEvent(child.service.name, what, child.pid, detail))
