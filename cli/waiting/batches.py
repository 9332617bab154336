"""Following a batch to its end: a line of progress for a person, and what it means for the exit code."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from rich.live import Live
from rich.text import Text

from api.client.client import Client, ServerUnreachable
from api.documents.batches import BatchDetail, BatchView
from cli.output_files import replace_file
from cli.session import Exit, Stop, console, hint
from cli.waiting.standstill import PATIENCE, WAITING, Standstill, Why
from orchestrator.model.batches import BatchState
from orchestrator.model.states import JobState
from orchestrator.results.majority import disagreement

_POLL = 1.0
"""Seconds between two looks."""

_GOING = frozenset({BatchState.OPEN, BatchState.RUNNING})


def followed(client: Client, batch: int, timeout: float | None) -> BatchDetail:
    """The batch with its report, once all of its jobs have ended.

    A server that goes away for a while is waited for. After `timeout` seconds, or on Ctrl-C, it stops watching and says
    how to go on; the batch runs on."""
    again = f"tx81 batches wait {batch}"
    deadline = None if timeout is None else time.monotonic() + timeout
    seen: BatchView | None = None
    try:
        with _live_progress(client) as tell:
            while True:
                try:
                    seen = client.batches.progress(batch)
                    tell(seen)
                except ServerUnreachable:
                    if seen is None:
                        raise
                if seen.state not in _GOING:
                    return client.batches.show(batch)
                if deadline is not None and time.monotonic() >= deadline:
                    raise TimeoutError
                time.sleep(_POLL)
    except TimeoutError:
        raise Stop(f"not ended after {timeout:g} s. To wait again: {again}", Exit.TIMED_OUT) from None
    except KeyboardInterrupt:
        raise Stop(f"detached; the batch continues. To wait again: {again}", Exit.DETACHED) from None


def end_of(batch: BatchDetail, *, require_agreement: bool = False) -> Exit:
    """0 only if all jobs succeeded; a job's own failure weighs more than an infrastructure fault.

    With `require_agreement`, slots that do not agree are such a failure."""
    if require_agreement and (why := disagreement(batch.agreement)) is not None:
        hint(f"agreement is required: {why}")
        return Exit.JOB_FAILED
    if batch.state is BatchState.SUCCEEDED:
        return Exit.OK
    spoiled = batch.counts.get(JobState.FAILED, 0) > 0 or batch.state is BatchState.STOPPED
    return Exit.FAULT if spoiled and not batch.failures else Exit.JOB_FAILED


def saved_junit(client: Client, batch: int, junit: Path | None, *, require_agreement: bool = False) -> None:
    """Write the batch as JUnit XML, whole or not at all."""
    if junit is not None:
        replace_file(junit, b"".join(client.batches.junit(batch, require_agreement=require_agreement)))


@contextmanager
def _live_progress(client: Client) -> Iterator[Callable[[BatchView], object]]:
    """On a terminal lines that renew themselves; in a pipe only why nothing runs, each kind of reason once."""
    standstill = Standstill(client, PATIENCE)

    def why(batch: BatchView) -> Why | None:
        waiting = partial(client.jobs, limit=1, batch=batch.id, state=WAITING)
        states = [state for state, count in batch.counts.items() if count]
        return standstill.why(states, lambda: next((job.id for job in waiting().items), None))

    if not sys.stderr.isatty():
        said: set[frozenset[str]] = set()
        yield lambda batch: _said_once(why(batch), said)
        return
    with Live(console=console(errors=True), auto_refresh=False, transient=True) as live:
        yield lambda batch: live.update(_progress_text(batch, why(batch)), refresh=True)


def _said_once(why: Why | None, said: set[frozenset[str]]) -> None:
    if why is not None and why.kinds not in said:
        said.add(why.kinds)
        hint(why.line)


def _progress_text(batch: BatchView, why: Why | None) -> Text:
    return Text(progress_line(batch) + (f"\n{why.line}" if why else ""))


def progress_line(batch: BatchView) -> str:
    """How far it has come, in one line."""
    counts = ", ".join(f"{count} {state}" for state, count in batch.counts.items() if count)
    stopped = f"; stopped: {batch.stop.reason}" if batch.stop else ""
    return f"batch {batch.id} {batch.name}: {counts or 'being written'} of {batch.size}{stopped}"
