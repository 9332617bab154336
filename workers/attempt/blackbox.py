"""The data saved about an attempt that ended with a fault or a suspicion, before anything is reset.

One JSON document, at most about 1 MB: the last lines of the log, the exact command with secrets masked, the tool's
process tree as last seen, the processes that have the cards open now, and the kernel log since the attempt began.
"""

import errno
import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from orchestrator.model.failures import Failure, Suspicion
from orchestrator.storage.artifacts import ArtifactStore
from workers.attempt.collect import Output
from workers.attempt.guard import CardGuard
from workers.processes.process import Outcome

NAME = "black_box"

LOG_BYTES = 1 << 18
MOST_KERNEL_LINES = 500
_CLOCKS_APART = 60.0
"""Seconds by which the kernel log's clock may lag the monotonic clock, because only the latter is adjusted."""

_KERNEL_RECORD = 8192  # the kernel returns one record per read, and refuses a smaller buffer


def store_black_box(
    store: ArtifactStore,
    folder: Path,
    *,
    label: str,
    log: Path,
    command: Mapping[str, Any] | None,
    outcome: Outcome | None,
    guard: CardGuard | None,
    failure: Failure | None,
    suspicion: Suspicion | None,
    since: float,
) -> Output:
    """Store the data available now as the artifact `black_box`; `since` is the attempt's beginning, monotonic."""
    document = {
        "attempt": label,
        "failure": failure and failure.model_dump(mode="json"),
        "suspicion": suspicion and suspicion.model_dump(mode="json"),
        "command": command,
        "outcome": outcome and _outcome(outcome),
        "cards": guard and guard.found and guard.found.document(),
        "processes": guard.processes if guard else [],
        "boot_id": _boot_id(),
        "kernel": kernel_lines(since),
        "log": tail(log, LOG_BYTES).splitlines(),
    }
    file = folder / f"{label}.{NAME}.json"
    file.write_text(json.dumps(document, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    stored = store.put_file(file)
    return Output(name=NAME, digest=stored.digest, tree=False, file_name=file.name, size=stored.size)


def tail(path: Path, most: int) -> str:
    """The last `most` bytes of a file as text, bytes that are not UTF-8 replaced; empty if there is no file."""
    if not path.exists():
        return ""
    with path.open("rb") as opened:
        opened.seek(max(0, opened.seek(0, os.SEEK_END) - most))
        return opened.read(most).decode("utf-8", "replace")


def kernel_lines(since: float, *, earlier: float = _CLOCKS_APART) -> list[str]:
    """What the kernel has logged since a moment of the monotonic clock, or up to `earlier` seconds before it.

    None if we have no permission to read it."""
    lines: list[str] = []
    try:
        handle = os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return lines
    try:
        while True:
            try:
                record = os.read(handle, _KERNEL_RECORD)
            except OSError as trouble:
                if trouble.errno == errno.EPIPE:  # that record was overwritten while we read
                    continue
                return lines[-MOST_KERNEL_LINES:]
            # "PRIORITY,SEQUENCE,MICROSECONDS,FLAGS;text" and lines of key=value.
            head, _, text = record.decode("utf-8", "replace").partition(";")
            with suppress(IndexError, ValueError):
                seconds = int(head.split(",")[2]) / 1e6
                if seconds >= since - earlier:
                    lines.append(f"[{seconds:.6f}] {text.partition(chr(10))[0]}")
    finally:
        os.close(handle)


def _outcome(outcome: Outcome) -> dict[str, Any]:
    return {**vars(outcome), "started_at": outcome.started_at.isoformat(), "stopped": outcome.stopped}


def _boot_id() -> str | None:
    """The boot id of the host: a defect may be gone after a reboot."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return None
