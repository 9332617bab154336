"""Waiting for jobs: progress for a person, silence in a pipe, and what it all means for the exit code."""

import sys
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from rich.live import Live
from rich.progress import DownloadColumn
from rich.progress import Progress as Bar

from api.client.client import Client, ServerUnreachable
from api.documents.jobs import JobDetail, JobView
from cli.pages.jobs import jobs_table, reason, seconds_of
from cli.pages.layout import clean
from cli.session import Exit, Stop, console, hint
from orchestrator.model.failures import FailureKind
from orchestrator.model.slots import together
from orchestrator.model.states import FINAL, JobState

Progress = Callable[[Sequence[JobView]], object]
"""Told where all watched jobs stand, again and again."""

_UNPLACED = frozenset({JobState.WAITING, JobState.QUEUED})

_POLL = 0.5
"""Seconds between two looks: a person's eye asks for no more, and the server answers each in milliseconds."""


def wait_for(
    client: Client, jobs: Iterable[int], *, progress: Progress | None = None, timeout: float | None = None
) -> list[JobDetail]:
    """All these jobs, in that order, once every one has ended.

    A server that goes away for a while is waited for. After `timeout` seconds, or on Ctrl-C, it stops watching and says
    how to go on; the jobs run on."""
    ids = list(dict.fromkeys(jobs))
    again = f"tx81 wait {' '.join(map(str, ids))}"
    try:
        ended = watched(client, ids, progress, timeout) if progress else client.wait(ids, timeout)
    except TimeoutError:
        raise Stop(f"not all have ended after {timeout:g} s. To wait again: {again}", Exit.TIMED_OUT) from None
    except KeyboardInterrupt:
        raise Stop(f"detached; the jobs continue. To wait again: {again}", Exit.DETACHED) from None
    return [ended[job] for job in ids]


def exit_for(jobs: Iterable[JobView]) -> Exit:
    """0 only if all succeeded; a job's own failure weighs more than an infrastructure fault, a skipped job least."""
    codes = set()
    for job in jobs:
        fault = job.failure is not None and job.failure.kind is FailureKind.FAULT
        if job.state is not JobState.SUCCEEDED:
            codes.add("skipped" if job.state is JobState.SKIPPED else Exit.FAULT if fault else Exit.JOB_FAILED)
    if not codes:
        return Exit.OK
    return Exit.FAULT if Exit.FAULT in codes and Exit.JOB_FAILED not in codes else Exit.JOB_FAILED


@contextmanager
def sending(name: str) -> Iterator[Callable[[int, int], None]]:
    """Called with the number of bytes sent and the total: a bar on a terminal, nothing in a pipe."""
    if not sys.stderr.isatty():
        yield lambda _there, _size: None
        return
    with Bar(*Bar.get_default_columns(), DownloadColumn(), console=console(errors=True), transient=True) as bar:
        task = bar.add_task(clean(name))
        yield lambda there, size: bar.update(task, completed=there, total=size)


@contextmanager
def live_progress(*, lines_when_piped: bool = False) -> Iterator[Progress | None]:
    """A table that renews itself on a terminal; in a pipe nothing, or one line for each change of state."""
    if sys.stderr.isatty():
        with Live(console=console(errors=True), auto_refresh=False, transient=True) as live:
            yield lambda jobs: live.update(jobs_table(jobs), refresh=True)
    else:
        yield changes_printed() if lines_when_piped else None


def changes_printed() -> Progress:
    """Print one line on standard error for each change of a job's state."""
    seen: dict[int, JobState] = {}

    def tell(jobs: Sequence[JobView]) -> None:
        for job in jobs:
            if seen.get(job.id) is not job.state:
                seen[job.id] = job.state
                took = f" after {seconds_of(job)} s" if job.state in FINAL and job.started_at else ""
                place = f" on {together(job.last_slot_ids)}" if job.last_slot_ids and job.state not in _UNPLACED else ""
                why = f" — {reason(job)}" if reason(job) else ""
                hint(f"  job {job.id} {job.name}: {job.state}{place}{took}{why}")

    return tell


def watched(client: Client, ids: Sequence[int], progress: Progress, timeout: float | None) -> Mapping[int, JobDetail]:
    """All these jobs, once every one has ended; `progress` hears of each look. TimeoutError after `timeout` seconds."""
    deadline = None if timeout is None else time.monotonic() + timeout
    seen: dict[int, JobDetail] = {}
    while True:
        try:
            for job in ids:
                if job not in seen or seen[job].state not in FINAL:
                    seen[job] = client.job(job)
            progress(list(seen.values()))
        except ServerUnreachable:
            if not seen:
                raise
        if len(seen) == len(ids) and all(job.state in FINAL for job in seen.values()):
            return seen
        if deadline is not None and time.monotonic() >= deadline:
            raise TimeoutError
        time.sleep(_POLL)
