"""The worker's end of the shim: keeps one running, lends it to a run at a time, and notices its death."""

import json
import marshal
import os
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, Self

from tx81 import start
from workers.processes import shim

_GONE_WITHIN = 5.0
"""Seconds in which a process that was killed is gone; one that hangs in the kernel (a device) cannot be waited for."""

_LOOK_AGAIN = 0.01


def send(link: socket.socket, plan: shim.Plan, descriptors: Sequence[int]) -> None:
    """Order one attempt; the sender may close its copies of the descriptors at once.

    Marshal, because both ends are one interpreter and json takes 9 ms to import. OSError for a descriptor
    that is not open, or for too many of them."""
    body = marshal.dumps(plan)
    message = len(body).to_bytes(shim.LENGTH, "big") + body
    sent = socket.send_fds(link, [message], descriptors)
    link.sendall(message[sent:])


class ShimLostError(RuntimeError):
    """The shim was killed from outside, so it is unknown how the tool ended and which processes it left.

    An infrastructure fault. The tool and its session have been killed and are gone; processes that had left the
    session may live on, and hold the descriptors they inherited. `pid` is the tool's, 0 if it is not known to
    have run. The next run under the same Shim starts a new process."""

    def __init__(self, pid: int) -> None:
        above = f"above process {pid}" if pid else "before its tool had started"
        super().__init__(f"the shim was killed {above}; check the slot for leftover processes")
        self.pid = pid


class ShimBusyError(RuntimeError):
    """A run was asked of a shim that has one: it could not distinguish the processes of the two."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"shim {pid} already has a run; wait for its end, or use one shim for each slot")
        self.pid = pid


class Shim:
    """One shim process for all the attempts of a slot, one at a time.

    A shim that somebody killed, or that ended because it could not get rid of a process, is replaced by the
    next run. What a tool inherits beside its descriptors (umask, resource limits, priority) is what this
    process had when the shim started, not when the run did."""

    def __init__(self, process: subprocess.Popen[bytes], link: socket.socket) -> None:
        self._process = process
        self._link = link
        self._turn = threading.Lock()

    @classmethod
    def start(cls) -> Self:
        """Does not wait until it is up: only the first run may have to. OSError if no process can be started."""
        return cls(*_spawn())

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """Of the shim that now runs, or ran last."""
        return self._process.pid

    def close(self) -> None:
        """End the shim, after the run that it may have in another thread."""
        with self._turn:
            self._end()

    @contextmanager
    def tree(self, plan: shim.Plan, *, log_fd: int) -> Iterator["Tree"]:
        """Start a tool and its tree. After the block no process is left that can be killed.

        ShimBusyError on entering if there is another tree, ShimLostError on leaving if the shim was killed."""
        if not self._turn.acquire(blocking=False):
            raise ShimBusyError(self.pid)
        try:
            if not self._is_ready():
                self._end()
                self._process, self._link = _spawn()
            tree = Tree(self._link, plan, log_fd=log_fd)
            try:
                yield tree
            finally:
                tree.close()
                if not tree.accounted_for:
                    self._end()
                    tree.kill_session()
            if not tree.accounted_for:
                raise ShimLostError(tree.pid)
        finally:
            self._turn.release()

    def _is_ready(self) -> bool:
        if self._process.poll() is not None:
            return False
        # It never says anything on the link: something to read is the end of the file.
        poll = select.poll()
        poll.register(self._link, select.POLLIN)
        return not poll.poll(0)

    def _end(self) -> None:
        self._link.close()
        # Between two runs it has no child; there is nothing to do first.
        self._process.kill()
        self._process.wait()


class Tree:
    """The worker's end of one attempt: orders go down, facts come up."""

    def __init__(self, link: socket.socket, plan: shim.Plan, *, log_fd: int) -> None:
        self.facts: dict[str, Any] = {}
        """What the shim has said so far; the keys are described there."""
        self.told_to_stop = False
        """Whether the ladder was begun by us."""
        self._unread = b""
        self._told_to_kill = False
        *_, kept, _messenger, _confinement = plan
        control, self._control = os.pipe()
        self.status, status = os.pipe()
        try:
            # A shim that is gone is found out at its end of file.
            with suppress(BrokenPipeError, ConnectionResetError):
                send(link, plan, (control, status, log_fd, *kept))
        except BaseException:
            os.close(self._control)
            os.close(self.status)
            raise
        finally:
            os.close(control)
            os.close(status)

    def close(self) -> None:
        """Have the tree killed, if it is not gone, and wait for the shim's last word."""
        # For the shim, end of file on the control pipe is the order to kill the tree.
        os.close(self._control)
        while self.listen():
            pass
        os.close(self.status)

    @property
    def pid(self) -> int:
        """The tool's; 0 before it runs."""
        return int(self.facts.get("started", 0))

    @property
    def tool_ended(self) -> bool:
        """True as well when the tool could not even be launched."""
        return not self.facts.keys().isdisjoint({"exit_code", "signal", "launch_errno", "strays"})

    @property
    def accounted_for(self) -> bool:
        """Whether the shim got to its last word."""
        return "strays" in self.facts

    def listen(self) -> bool:
        """Take in what the shim says; False when it has said everything, or died."""
        said = os.read(self.status, 65536)
        *lines, self._unread = (self._unread + said).split(b"\n")
        for line in lines:
            self.facts |= json.loads(line)
        return bool(said)

    def stop(self) -> None:
        """Begin the ladder; saying it again changes nothing."""
        if not self.told_to_stop:
            self.told_to_stop = True
            self._send(shim.STOP)

    def kill(self) -> None:
        """Cut the ladder short."""
        if not self._told_to_kill:
            self._told_to_kill = True
            self._send(shim.KILL_NOW)

    def kill_session(self) -> None:
        """What can be done without a shim: returns when the tool's session is gone, or outlives SIGKILL.

        A look at its cards right after would find processes that are about to end."""
        give_up = time.monotonic() + _GONE_WITHIN
        while self.pid and (left := _living(self.pid)) and time.monotonic() < give_up:
            for pid in left:
                with suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(_LOOK_AGAIN)

    def _send(self, order: bytes) -> None:
        # The attempt may be over by now, and the shim with it.
        with suppress(BrokenPipeError):
            os.write(self._control, order)


def _living(session: int) -> list[int]:
    """The processes of a session that have not ended: those too that have left the tool's process group."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError), open(f"/proc/{name}/stat", "rb") as stat:
            # The name of the program stands in parentheses and may hold spaces and parentheses itself.
            state, _, _, of, *_ = stat.read(4096).rpartition(b")")[2].split()
            if int(of) == session and state not in b"ZX":
                found.append(int(name))
    return found


def _spawn() -> tuple[subprocess.Popen[bytes], socket.socket]:
    link, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(
            [sys.executable, "-S", "-E", "-I", shim.__file__, str(os.getpid())],
            stdin=theirs.fileno(),
            stdout=subprocess.DEVNULL,
            cwd="/",
            # What it inherits, tools of its user can read: nothing of our settings.
            env={name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ},
            start_new_session=True,
            umask=start.umask_of_tools,
        )
    except BaseException:
        link.close()
        raise
    finally:
        theirs.close()
    return process, link
