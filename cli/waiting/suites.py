"""Waiting for the verdict of a suite run, and what it means for the exit code."""

import time
from pathlib import Path

from api.client.client import Client, ServerUnreachable
from api.documents.suites import SuiteRunDetail, SuiteRunView
from cli.output_files import replace_file
from cli.session import Exit, Stop, hint_on_terminal
from orchestrator.model.verdicts import Verdict

_POLL = 1.0
"""Seconds between two looks."""

_EXITS = {
    Verdict.SAME: Exit.OK,
    Verdict.BETTER: Exit.OK,
    Verdict.KNOWN: Exit.OK,
    Verdict.WORSE: Exit.JOB_FAILED,
    Verdict.INFRASTRUCTURE: Exit.FAULT,
}


def judged(client: Client, run: int, timeout: float | None) -> SuiteRunDetail:
    """The run, once it has its verdict; a server that goes away for a while is waited for."""
    again = f"tx81 suites wait {run}"
    deadline = None if timeout is None else time.monotonic() + timeout
    seen: SuiteRunDetail | None = None
    try:
        while True:
            try:
                found = client.suites.run(run)
                if seen is None or (found.round, found.jobs_ended) != (seen.round, seen.jobs_ended):
                    hint_on_terminal(f"run {run}: {found.jobs_ended} of {found.jobs} jobs, round {found.round}")
                seen = found
                if seen.ended_at is not None:
                    return seen
            except ServerUnreachable:
                if seen is None:
                    raise
            if deadline is not None and time.monotonic() >= deadline:
                raise Stop(f"not judged after {timeout:g} s. To wait again: {again}", Exit.TIMED_OUT)
            time.sleep(_POLL)
    except KeyboardInterrupt:
        raise Stop(f"detached; the run continues. To wait again: {again}", Exit.DETACHED) from None


def exit_of_run(run: SuiteRunView) -> Exit:
    """0 pass, 1 worse, 2 could not be judged, 4 infrastructure."""
    return _EXITS.get(run.verdict, Exit.USAGE) if run.verdict is not None else Exit.USAGE


def saved_suite_junit(client: Client, run: SuiteRunView, junit: Path | None) -> None:
    """Write a judged run as JUnit XML, whole or not at all."""
    if junit is not None:
        replace_file(junit, b"".join(client.suites.junit(run.id)))
