"""Injected faults: text files in the tree's `faults/` folder, read again at every step of every tool.

`faults/<card>` (`faults/0` … `faults/31`) applies to the process that holds that card, counted in tokens;
`faults/convert`, `faults/compile`, `faults/quant`, `faults/driver` apply to those stages, counted in layers, source
files, tensors and cards. One fault per line; `#` starts a comment:

    slow 50               each step takes 50 ms longer
    silent 3000           one pause of 3000 ms in which nothing is printed
    long 180000           one step of 180000 ms with fifty lines of progress
    flood 5000            5000 kB of log lines at once
    alarm                 a fatal device error in the log; the work continues and ends as if nothing had happened
    corrupt               the result is wrong, and the run ends as if it were correct; `corrupt 1`: at one step only
    error                 device error: message on the error stream, exit 1
    crash                 SIGSEGV
    hang                  sleeps until killed, ignores SIGINT
    deaf                  ignores SIGINT and SIGTERM from then on, and continues; with a `hang` only SIGKILL ends it

Cards only, each when a card is opened, `dead` and `gone` also at a token:

    dead                  the card is lost: `HPGR: device error`, exit 1
    gone                  the card's device node is removed; then as with any missing node, exit 1
    stuck                 the card is busy although nobody holds it, exit 1
    open-fail             the card fails to open, exit 1

The first three stay until the driver is installed again, which removes their lines. Stages only:

    full                  `No space left on device`, exit 1, and what was written so far is left incomplete

`corrupt` is wrong tokens on a card, weights of the wrong sign in `quant`, layers that do nothing in `convert`, and
nothing in the other stages. `after=N` lets N steps pass first. `times=N` applies the fault to N processes only and
then removes its line: `crash times=1` is a job that succeeds when retried. Every application is an event (`fault`),
written before it takes effect.
"""

import fcntl
import os
import re
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from emulator.cards.events import record
from emulator.tool import Refused
from emulator.tree import Tree

LASTING = ("dead", "gone", "stuck")
"""What stays with a card until the driver is installed again."""
_ANYWHERE = ("slow", "silent", "long", "flood", "alarm", "corrupt", "error", "crash", "hang", "deaf")
_OF_CARDS = (*_ANYWHERE, *LASTING, "open-fail")
_OF_STAGES = (*_ANYWHERE, "full")
_NUMBERED = ("slow", "silent", "long", "flood")
_PERHAPS_NUMBERED = ("corrupt",)
_WORDS = re.compile(r"(?P<kind>[a-z-]+)(?: +(?P<number>[0-9]{1,9}))?(?P<options>(?: +(?:after|times)=[0-9]{1,9})*)")


@dataclass(frozen=True)
class Fault:
    """One line of a fault file."""

    kind: str
    number: int = 0
    """Milliseconds, kilobytes or steps, as the kind has it; 0 where it has none."""
    after: int = 0
    times: int = field(default=0, compare=False)
    """How many processes it may still strike; 0 is no limit. Not part of what the fault *is*."""

    def __str__(self) -> str:
        words = [self.kind]
        words += [str(self.number)] if self.number or self.kind in _NUMBERED else []
        words += [f"{name}={value}" for name, value in (("after", self.after), ("times", self.times)) if value]
        return " ".join(words)


def parse(text: str, name: str) -> list[Fault]:
    """The faults in the text of the file for a card or stage; a line that is none there is refused with the line."""
    known = _OF_CARDS if name.isdecimal() else _OF_STAGES
    lines = (line.split("#")[0].strip() for line in text.splitlines())
    return [_parse_line(line, name, known) for line in lines if line]


def _parse_line(line: str, name: str, known: tuple[str, ...]) -> Fault:
    words = _WORDS.fullmatch(line)
    if words is None or words["kind"] not in known or not _well_numbered(words["kind"], words["number"]):
        numbered = ", ".join(_NUMBERED)
        raise Refused(f"faults/{name}: not a fault: {line!r}; known are {', '.join(known)}, with a number: {numbered}")
    options = dict(word.split("=") for word in words["options"].split())
    return Fault(words["kind"], int(words["number"] or 0), int(options.get("after", 0)), int(options.get("times", 0)))


def _well_numbered(kind: str, number: str | None) -> bool:
    return kind in _PERHAPS_NUMBERED or (number is not None) == (kind in _NUMBERED)


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
            return parse(self._path.read_text("utf-8", "replace"), self._path.name)
        except FileNotFoundError:
            return []

    def _claimed(self, fault: Fault) -> bool:
        """Take one of a limited fault's strikes; two processes never take the same one. What lasts is there from the
        first step on for the next process."""
        if not fault.times and not (fault.after and fault.kind in LASTING):
            return True
        with self._alone():
            listed = self._read()
            if fault not in listed:
                return False
            at = listed.index(fault)
            left = [replace(fault, times=listed[at].times - 1)] if listed[at].times > 1 else []
            if not fault.times:
                left = [replace(fault, after=0)]
            self._rewrite([*listed[:at], *left, *listed[at + 1 :]])
            return True

    def clear(self, kinds: Collection[str]) -> None:
        """Take these kinds of faults away; a process that claims a strike at this moment comes first."""
        if not self._path.is_file():
            return
        with self._alone():
            listed = self._read()
            kept = [fault for fault in listed if fault.kind not in kinds]
            if kept != listed:
                self._rewrite(kept)

    @contextmanager
    def _alone(self) -> Iterator[None]:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _rewrite(self, faults: list[Fault]) -> None:
        if not faults:
            self._path.unlink(missing_ok=True)
            return
        fresh = self._path.with_name(f".{self._path.name}.{os.getpid()}")
        fresh.write_text("".join(f"{fault}\n" for fault in faults), "utf-8")
        os.replace(fresh, self._path)
