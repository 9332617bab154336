"""The two sorts of steps that a host is set up by, as things that can be looked at and done."""

import glob
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from orchestrator.model.provision import PACKAGES
from workers.processes.matching import search
from workers.provision import packages
from workers.provision.packages import Archive
from workers.provision.plan import Packages, Run, Step

_CHECK_SECONDS = 120
"""Within which a check has said what it has to say."""

_SAID_BYTES = 1 << 16


class StepFailed(Exception):
    """A step cannot be done; the text says why."""


class Task(Protocol):
    """One step."""

    name: str
    title: str
    force: bool
    patience_seconds: int

    def lacking(self) -> str | None:
        """What there is to do; None if nothing. Changes nothing."""

    def described(self) -> Iterator[str]:
        """What `do` would do, a line each."""

    def do(self) -> None:
        """Do it."""


class PackagesTask:
    """Prove the archives, then unpack those that are not unpacked yet."""

    name = PACKAGES
    title = "Prove the vendor's packages and unpack them"
    patience_seconds = 0

    def __init__(self, wanted: Packages) -> None:
        self._wanted = wanted
        self._root = Path(wanted.root)
        self.force = wanted.force

    def lacking(self) -> str | None:
        """Proves all that is to be unpacked, which takes its time."""
        left = packages.pending(self._archives(), self._root)
        for archive in left:
            packages.prove(archive)
        names = ", ".join(archive.path.name for archive in left)
        return f"to be unpacked into {self._root}: {names}" if left else None

    def described(self) -> Iterator[str]:
        """The archives."""
        return (f"unpack {archive.path}" for archive in self._left())

    def do(self) -> None:
        """Unpack, one after the other."""
        left = self._left()
        if self.force:
            for archive in left:
                packages.prove(archive)
        for archive in left:
            say(f"unpacking {archive.path}")
            packages.unpack(archive, self._root)

    def _archives(self) -> list[Archive]:
        return packages.listed(Path(self._wanted.folder), self._wanted.archives)

    def _left(self) -> list[Archive]:
        archives = self._archives()
        left = packages.pending(archives, self._root)
        return archives if self.force else left


class CommandTask:
    """Run the commands of the profile, unless its check says that they need not be run."""

    def __init__(self, step: Step) -> None:
        self._step = step
        self.name, self.title = step.name, step.title
        self.force, self.patience_seconds = step.force, step.patience_seconds

    def lacking(self) -> str | None:
        """What speaks against its being done: device nodes that are not there, or what its check says."""
        missing = [pattern for pattern in self._step.nodes if not glob.glob(pattern)]
        if missing:
            return f"{len(missing)} of {len(self._step.nodes)} device nodes are missing, the first is {missing[0]}"
        shown = self._step.check.shown
        try:
            asked = _started(self._step.check, stdout=subprocess.PIPE, timeout=_CHECK_SECONDS)
        except OSError as trouble:
            return f"{shown} cannot be run: {trouble.strerror}"
        except subprocess.TimeoutExpired:
            return f"{shown} has not ended after {_CHECK_SECONDS} s"
        said = asked.stdout[:_SAID_BYTES].decode("utf-8", "replace")
        if asked.returncode != 0:
            return f"{shown} ended with {asked.returncode}: {_last_line(said)}"
        if self._step.prints is not None and search(self._step.prints, said) is None:
            return f"the output of {shown} does not match {self._step.prints}"
        return None

    def described(self) -> Iterator[str]:
        """The commands."""
        return (f"cd {run.where} && {run.shown}" for run in self._step.commands)

    def do(self) -> None:
        """Run them; StepFailed at the first that does not end with 0, with its last words."""
        for run in self._step.commands:
            shown = run.shown
            say(f"$ {shown}")
            before = _written()
            try:
                code = _started(run, stdout=None, timeout=None).returncode
            except OSError as trouble:
                raise StepFailed(f"{shown} cannot be run in {run.where}: {trouble.strerror}") from None
            if code != 0:
                raise StepFailed(f"{shown} ended with {code}: {_last_line(_said_since(before))}")


def say(line: str) -> None:
    """Add a line to the log of the attempt."""
    print(line.encode("utf-8", "replace").decode(), flush=True)


def _started(run: Run, *, stdout: int | None, timeout: float | None) -> subprocess.CompletedProcess[bytes]:
    # What is handed down to us, the locks on the cards, is handed on: a survivor keeps them.
    return subprocess.run(
        run.argv, env=run.env, cwd=run.cwd, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.STDOUT,
        timeout=timeout, close_fds=False, check=False,
    )  # fmt: skip


def _last_line(said: str) -> str:
    return next((line.strip() for line in reversed(said.splitlines()) if line.strip()), "it printed nothing")


def _written() -> int:
    """How long the log is, where standard output is a file."""
    return os.fstat(sys.stdout.fileno()).st_size


def _said_since(start: int) -> str:
    """The end of what was written to the log since."""
    with suppress(OSError), open(f"/proc/self/fd/{sys.stdout.fileno()}", "rb") as log:
        log.seek(max(start, _written() - _SAID_BYTES))
        return log.read(_SAID_BYTES).decode("utf-8", "replace")
    return ""
