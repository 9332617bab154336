"""The commands about jobs: submit, jobs, show, wait, retry."""

from collections.abc import Iterable, Sequence
from typing import Annotated

from cyclopts import Parameter

from api.client.client import Client
from api.documents.jobs import CheckedJob, JobDetail, JobView
from api.documents.pipelines import PipelineDetail
from cli.commands.listing import USUAL, Listing, slot_id
from cli.commands.logs import log_followed
from cli.input.documents import requests_in
from cli.input.files import OwnFiles
from cli.input.numbers import Seconds
from cli.pages.jobs import checked_table, job_page, jobs_list, jobs_table
from cli.session import HERE, Exit, Session, Stop, hint, hint_on_terminal, once
from cli.waiting.jobs import exit_for, live_progress, wait_for
from orchestrator.model.specs import JobRequest, PipelineRequest
from orchestrator.model.states import JobState

Switch = Parameter(negative="")


def submit(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    wait: Annotated[bool, Switch] = False,
    follow: Annotated[bool, Switch] = False,
    dry_run: Annotated[bool, Switch] = False,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """Submit a job, a list of jobs (all or none) or a pipeline: JSON or YAML.

    Parameters
    ----------
    file
        The document; - means standard input. A mapping with `jobs` is a pipeline, a list is many jobs.
    wait
        Wait until all jobs have ended; the exit code tells how they ended.
    follow
        Like --wait, and follow the log of the last job on standard error.
    dry_run
        Only check it as the server would, and print what its jobs would be; nothing is submitted.
    key
        Idempotency key: repeating the command with the same key and document never creates a second job.
    """
    files = OwnFiles()
    request = requests_in(file, files)
    with session.client() as client:
        files.send(client)
        if dry_run:
            checked = _checked(client, request)
            session.emit(checked, checked_table(checked))
            return Exit.OK
        with once(key) as sent:
            made = _submitted(client, request, sent)
        jobs = made.jobs if isinstance(made, PipelineDetail) else made
        hint_on_terminal(f"submitted; wait with: tx81 wait {_numbers(jobs)}")
        if not (wait or follow):
            session.emit(made if isinstance(request, PipelineRequest) else _as_asked(request, jobs), jobs_table(jobs))
            return Exit.OK
        _warn_of_endless(jobs)
        if follow:
            log_followed(client, jobs[-1].id)
        ended = _waited(client, [job.id for job in jobs], timeout=None)
        session.emit(_as_asked(request, ended), jobs_table(ended))
        return exit_for(ended)


def _warn_of_endless(jobs: Sequence[JobView]) -> None:
    """A server ends only when it is stopped. If no client is in the same submission, that may take hours."""
    servers = " ".join(str(job.id) for job in jobs if job.kind == "serve")
    if servers and all(job.kind != "client" for job in jobs):
        hint(f"this waits until the server is stopped: tx81 stop {servers}")


def jobs(
    *,
    state: tuple[JobState, ...] = (),
    kind: str | None = None,
    model: str | None = None,
    pipeline: int | None = None,
    batch: int | None = None,
    slot: str | None = None,
    search: str | None = None,
    listing: Listing = USUAL,
    session: Session = HERE,
) -> Exit:
    """List jobs, newest first.

    Parameters
    ----------
    state
        Only those in this state; may be given several times.
    kind
        Only those of this kind, e.g. infer.
    model
        Only those of this model.
    pipeline
        Only those of this pipeline.
    batch
        Only those of this batch.
    slot
        Only those that ran on this slot (HOST.g3, or g3 if only one host has it).
    search
        Only those with this text in their name.
    """
    with session.client() as client:
        filters = {
            **listing.filters(client), "state": list(state) or None, "kind": kind, "model": model,
            "pipeline": pipeline, "batch": batch, "slot": slot and slot_id(client, slot), "q": search,
        }  # fmt: skip
        listing.show(client, session, client.jobs, jobs_list, **filters)
    return Exit.OK


def show(job: int, /, *, session: Session = HERE) -> Exit:
    """Show one job in detail: spec, state and reason, attempts, inputs, outputs, metrics, origin of a cached result."""
    with session.client() as client:
        detail = client.job(job)
        session.emit(detail, job_page(detail))
    return Exit.OK


def wait(*jobs: int, timeout: Seconds | None = None, session: Session = HERE) -> Exit:
    """Wait until all these jobs have ended; exit 0 only if all of them succeeded.

    Parameters
    ----------
    timeout
        Seconds to wait; then exit with 124. The jobs continue.
    """
    if not jobs:
        raise Stop("wait: name at least one job; see: tx81 jobs")
    with session.client() as client:
        ended = _waited(client, jobs, timeout)
        session.emit(ended, jobs_table(ended))
    return exit_for(ended)


def retry(job: int, /, *, key: str | None = None, session: Session = HERE) -> Exit:
    """Submit a finished job's request again, as a new job."""
    with session.client() as client:
        with once(key) as sent:
            made = client.retry(job, key=sent)
        session.emit(made, jobs_table([made]))
    return Exit.OK


def _submitted(
    client: Client, request: JobRequest | list[JobRequest] | PipelineRequest, key: str
) -> PipelineDetail | Sequence[JobView]:
    match request:
        case PipelineRequest():
            return client.submit_pipeline(request, key=key)
        case JobRequest():
            return [client.submit(request, key=key)]
        case _:
            return client.submit_many(request, key=key)


def _checked(client: Client, request: JobRequest | list[JobRequest] | PipelineRequest) -> Sequence[CheckedJob]:
    match request:
        case PipelineRequest():
            return client.check_pipeline(request)
        case JobRequest():
            return [client.check(request)]
        case _:
            return [client.check(each) for each in request]


def _as_asked(request: object, jobs: Sequence[JobView]) -> JobView | Sequence[JobView]:
    """One job for one request, a list for many."""
    return jobs[0] if isinstance(request, JobRequest) else jobs


def _waited(client: Client, jobs: Iterable[int], timeout: float | None) -> list[JobDetail]:
    with live_progress() as progress:
        return wait_for(client, jobs, progress=progress, timeout=timeout)


def _numbers(jobs: Iterable[JobView]) -> str:
    return " ".join(str(job.id) for job in jobs)
