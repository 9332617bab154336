"""A short question to a program: its exit code and what it printed, however it behaves."""

import signal
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from workers.processes.process import Command, KillStep, Limits, StopSignal, run
from workers.processes.tree import Shim

_LOG_BYTES = 1 << 20


@dataclass(frozen=True)
class Told:
    """What came back. Without an exit code it did not end by itself in time, or never ran (`trouble` says why)."""

    exit_code: int | None
    said: str
    trouble: str | None = None

    @property
    def last(self) -> str:
        """The last line that says anything, or why there is none."""
        return self.trouble or next((line for line in reversed(self.said.splitlines()) if line.strip()), "").strip()


def ask(
    command: Command,
    *,
    folder: Path,
    seconds: float,
    shim: Shim | None = None,
    keep_fds: Sequence[int] = (),
    limit: int = _LOG_BYTES,
) -> Told:
    """Run the command for at most `seconds` and hear at most `limit` bytes; nothing of it lives when this returns.

    What it prints is kept in `folder` meanwhile."""
    log = folder / "said"
    log.unlink(missing_ok=True)
    outcome = run(
        command,
        log=log,
        limits=Limits(run=timedelta(seconds=seconds), log_bytes=_LOG_BYTES),
        ladder=[KillStep(signal.SIGKILL, timedelta(seconds=5))],
        keep_fds=keep_fds,
        stop=StopSignal(),
        shim=shim,
    )
    said = log.read_bytes()[:limit].decode("utf-8", "replace").replace("\0", "")
    return Told(outcome.exit_code, said, outcome.launch_error)
