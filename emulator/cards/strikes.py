"""The effect of an injected fault on a process."""

import ctypes
import errno
import os
import resource
import signal
import threading
from collections.abc import Callable

from emulator.cards.faults import Fault, FaultFile
from emulator.tool import Failed, complain, say
from emulator.tree import Tree

_PARTS = 50
"""Progress lines of one `long` step."""
_UNITS = {"convert": "layer", "quant": "tensor"}
"""What these stages count in their own lines of progress, which a long step looks like."""
_LINE = "[TXDA][DEBUG] flood: " + "0123456789abcdef" * 6


class Strikes:
    """The faults of one card or stage, as they act on this process."""

    def __init__(self, tree: Tree, name: str) -> None:
        self._file = FaultFile(tree, name)
        self._name = name
        self._acted: dict[Fault, int] = {}

    def due(self, done: int) -> list[Fault]:
        """The faults in force after `done` steps."""
        return self._file.due(done)

    def act(self, fault: Fault, wait: Callable[[float], object]) -> bool:
        """Let it act once more, as far as that is the same on cards and in stages; true if the step's outcome is to
        be wrong. `wait` pauses for some seconds, or until the run is over."""
        acted = self._acted[fault] = self._acted.get(fault, 0) + 1
        match fault.kind:
            case "slow":
                wait(fault.number / 1000)
            case "corrupt":
                return not fault.number or acted <= fault.number
            case "crash" | "hang":
                _end(crash=fault.kind == "crash")
            case _ if acted == 1:
                self._act_once(fault, wait)
        return False

    def _act_once(self, fault: Fault, wait: Callable[[float], object]) -> None:
        match fault.kind:
            case "silent":
                wait(fault.number / 1000)
            case "long":
                for part in range(_PARTS):
                    say(f"[{self._name}] {_UNITS.get(self._name, 'part')} {part + 1}/{_PARTS} of a long step")
                    wait(fault.number / 1000 / _PARTS)
            case "flood":
                for _ in range(-(-1000 * fault.number // (len(_LINE) + 1))):
                    say(_LINE)
            case "alarm":
                complain(f"HPGR: device error: {self._name}: fatal (injected), status ignored")
            case "deaf":
                _ignore(signal.SIGINT, signal.SIGTERM)


class StageFaults:
    """The faults of one long stage: `convert`, `compile`, `quant` or `driver`."""

    def __init__(self, tree: Tree, stage: str) -> None:
        self._strikes = Strikes(tree, stage)
        self._stage = stage

    def step(self, done: int) -> bool:
        """Let what is due strike, before the step after `done` others; true if the step is to come out wrong."""
        wrong = False
        for fault in self._strikes.due(done):
            if fault.kind == "error":
                raise Failed(f"{self._stage} failed at step {done} (injected)")
            if fault.kind == "full":
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            wrong |= self._strikes.act(fault, threading.Event().wait)
        return wrong


def _end(*, crash: bool) -> None:
    """Crash, or hang until killed."""
    if crash:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), signal.SIGSEGV)
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Event().wait()


def _ignore(*numbers: signal.Signals) -> None:
    """Ignore signals in the whole process; Python itself lets only its main thread do that."""
    library = ctypes.CDLL(None)
    library.signal.argtypes = [ctypes.c_int, ctypes.c_void_p]
    library.signal.restype = ctypes.c_void_p
    for number in numbers:
        library.signal(number, ctypes.c_void_p(int(signal.SIG_IGN)))
