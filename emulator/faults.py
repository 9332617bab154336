"""Injected faults: text files in the tree's `faults/` folder, read anew at every step of every tool.

`faults/<card>` (`faults/0` … `faults/31`) strikes the process that holds that card, counted in tokens;
`faults/convert`, `faults/compile`, `faults/quant` strike those stages, counted in layers, source files and tensors.
One fault a line; `#` starts a comment:

    slow 50               each step takes 50 ms longer
    silent 3000           one pause of 3000 ms in which nothing is printed
    corrupt               tokens come out wrong (cards only); the run itself ends as if all were well
    error                 device error: message on the error stream, exit 1
    dead                  the card cannot even be opened: `HPGR: device error`, exit 1 (cards only)
    crash                 SIGSEGV
    hang                  sleeps until killed, deaf to SIGINT

`after=N` lets N steps pass first. `times=N` lets the fault strike N processes only and then removes its line: `crash
times=1` is a job that succeeds when retried. Every strike is an event (`fault`), written before it takes effect.
"""

import fcntl
import os
import re
import resource
import signal
import threading
from dataclasses import dataclass, field, replace

from emulator.events import record
from emulator.tool import Failed, Refused
from emulator.tree import Tree

KINDS = ("slow", "silent", "corrupt", "error", "dead", "crash", "hang")
_TIMED = ("slow", "silent")
_WORDS = re.compile(r"(?P<kind>[a-z]+)(?: +(?P<ms>[0-9]{1,9}))?(?P<options>(?: +(?:after|times)=[0-9]{1,9})*)")


@dataclass(frozen=True)
class Fault:
    """One line of a fault file."""

    kind: str
    milliseconds: int = 0
    after: int = 0
    times: int = field(default=0, compare=False)
    """How many processes it may still strike; 0 is no limit. Not part of what the fault *is*."""

    def __str__(self) -> str:
        words = [self.kind]
        words += [str(self.milliseconds)] if self.kind in _TIMED else []
        words += [f"{name}={value}" for name, value in (("after", self.after), ("times", self.times)) if value]
        return " ".join(words)


def parse(text: str) -> list[Fault]:
    """The faults of one file's text; a line that is none is refused with the line."""
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [_parse_line(line) for line in lines if line]


def _parse_line(line: str) -> Fault:
    words = _WORDS.fullmatch(line)
    if words is None or words["kind"] not in KINDS or (words["ms"] is not None) != (words["kind"] in _TIMED):
        raise Refused(f"not a fault: {line!r}; known are {', '.join(KINDS)}, with a number for {' and '.join(_TIMED)}")
    options = dict(word.split("=") for word in words["options"].split())
    return Fault(words["kind"], int(words["ms"] or 0), int(options.get("after", 0)), int(options.get("times", 0)))


class FaultFile:
    """The faults of one card or stage, as they strike one process."""

    def __init__(self, tree: Tree, name: str) -> None:
        self._path = tree.faults / name
        self._log = tree.events
        self._seen: tuple[int, int, int] | None = None
        self._listed: list[Fault] = []
        self._struck: list[Fault] = []

    def due(self, done: int) -> list[Fault]:
        """The faults in force after `done` steps; each is recorded, and a limited one claimed, when it first
        strikes."""
        self._refresh()
        for fault in self._listed:
            if done >= fault.after and fault not in self._struck and self._claimed(fault):
                self._struck.append(fault)
                record(self._log, "fault", at=self._path.name, fault=str(fault))
        return [fault for fault in self._struck if fault.times or fault in self._listed]

    def _refresh(self) -> None:
        try:
            now = os.stat(self._path)
        except FileNotFoundError:
            self._seen, self._listed = None, []
            return
        seen = (now.st_ino, now.st_size, now.st_mtime_ns)
        if seen != self._seen:
            self._seen, self._listed = seen, self._read()

    def _read(self) -> list[Fault]:
        try:
            return parse(self._path.read_text("utf-8", "replace"))
        except FileNotFoundError:
            return []

    def _claimed(self, fault: Fault) -> bool:
        """Take one of a limited fault's strikes; two processes never take the same one."""
        if not fault.times:
            return True
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            listed = self._read()
            if fault not in listed:
                return False
            at = listed.index(fault)
            left = [replace(fault, times=listed[at].times - 1)] if listed[at].times > 1 else []
            self._rewrite([*listed[:at], *left, *listed[at + 1 :]])
            return True
        finally:
            os.close(folder)

    def _rewrite(self, faults: list[Fault]) -> None:
        if not faults:
            self._path.unlink(missing_ok=True)
            return
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.write_text("".join(f"{fault}\n" for fault in faults), "utf-8")
        os.replace(fresh, self._path)


class StageFaults:
    """The faults of one long stage: `convert`, `compile` or `quant`."""

    def __init__(self, tree: Tree, stage: str) -> None:
        self._file = FaultFile(tree, stage)
        self._stage = stage
        self._paused: set[Fault] = set()

    def step(self, done: int) -> None:
        """Let what is due strike, before the step after `done` others."""
        for fault in self._file.due(done):
            if fault.kind == "error":
                raise Failed(f"{self._stage} failed at step {done} (injected)")
            if fault.kind == "slow" or (fault.kind == "silent" and fault not in self._paused):
                self._paused.add(fault)
                threading.Event().wait(fault.milliseconds / 1000)
            end_process(fault)


def end_process(fault: Fault) -> None:
    """Crash or hang if that is what the fault says; else return."""
    if fault.kind == "crash":
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.kill(os.getpid(), signal.SIGSEGV)
    if fault.kind in ("crash", "hang"):
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGINT, signal.SIG_IGN)
        threading.Event().wait()
