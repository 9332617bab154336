"""The worker's end of one shim: starts it, gives it orders, hears its facts, and notices its death."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

from workers import shim


class ShimLostError(RuntimeError):
    """The shim was killed from outside, so nobody can say how the tool ended or which processes it left.

    An infrastructure fault. The tool and its process group have been killed; processes that had left the
    group may live on, and hold the descriptors they inherited."""

    def __init__(self, pid: int) -> None:
        super().__init__(f"the shim above process {pid} was killed; check the slot for processes left behind")
        self.pid = pid


class Tree:
    """The worker's end of one shim. Leaving the block leaves no process behind that can be killed.

    It raises OSError if the shim cannot be started, and ShimLostError on leaving if the shim was killed."""

    def __init__(self, plan: shim.Plan, *, log_fd: int, keep_fds: Sequence[int]) -> None:
        self.facts: dict[str, Any] = {}
        """What the shim has said so far; the keys are described there."""
        self.told_to_stop = False
        """Whether the ladder was begun by us."""
        self._unread = b""
        self._told_to_kill = False
        control, self._control = os.pipe()
        self.status, status = os.pipe()
        try:
            self._shim = subprocess.Popen(
                [sys.executable, "-S", "-E", "-I", shim.__file__, str(control), str(status)],
                stdin=subprocess.DEVNULL,
                stdout=log_fd,
                stderr=log_fd,
                pass_fds=(control, status, *keep_fds),
                cwd="/",
                start_new_session=True,
            )
        except BaseException:
            os.close(self._control)
            os.close(self.status)
            raise
        finally:
            os.close(control)
            os.close(status)
        self._send(shim.encode(plan))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        # For the shim, end of file on the control pipe is the order to kill the tree.
        os.close(self._control)
        self._shim.wait()
        while self.listen():
            pass
        os.close(self.status)
        if "strays" in self.facts:
            return
        if self.pid:
            with suppress(ProcessLookupError):
                os.killpg(self.pid, signal.SIGKILL)
        if error is None:
            raise ShimLostError(self.pid)

    @property
    def pid(self) -> int:
        """The tool's; 0 before it runs."""
        return int(self.facts.get("started", 0))

    @property
    def tool_ended(self) -> bool:
        """True as well when the tool could not even be launched."""
        return not self.facts.keys().isdisjoint({"exit_code", "signal", "launch_errno", "strays"})

    def listen(self) -> bool:
        """Take in what the shim says; False when it has ended."""
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

    def _send(self, order: bytes) -> None:
        # A shim that is gone is found out at its end of file.
        with suppress(BrokenPipeError):
            while order:
                order = order[os.write(self._control, order) :]
