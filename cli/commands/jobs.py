"""The commands about jobs: submit, run, jobs, show, wait, retry."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from api.client.client import Client
from api.documents.answers import AnswerView
from api.documents.jobs import JobDetail, JobView
from api.documents.pipelines import PipelineDetail
from cli.commands.listing import USUAL, Listing, slot_id
from cli.commands.logs import log_followed
from cli.input.documents import model_to_answers, requests_in
from cli.pages.jobs import answers_table, job_page, jobs_list, jobs_table, reason
from cli.session import HERE, Exit, Session, Stop, hint, hint_on_terminal, once
from cli.waiting.jobs import exit_for, live_progress, wait_for
from orchestrator.model.failures import WITH_RESULTS
from orchestrator.model.specs import JobRequest, PipelineRequest
from orchestrator.model.states import JobState

Switch = Parameter(negative="")


def submit(
    file: Annotated[str, Parameter(allow_leading_hyphen=True)],
    /,
    *,
    wait: Annotated[bool, Switch] = False,
    follow: Annotated[bool, Switch] = False,
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
    key
        Idempotency key: repeating the command with the same key and document never creates a second job.
    """
    request = requests_in(file)
    with session.client() as client:
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


def run(
    *,
    model: str,
    backend_type: str,
    prompts: Path,
    golden: Path | None = None,
    require: str | None = None,
    quantize: Annotated[bool, Switch] = False,
    max_tokens: int | None = None,
    groups: int | None = None,
    cards: str | None = None,
    batch_sizes: str | None = None,
    release: str | None = None,
    name: str | None = None,
    key: str | None = None,
    session: Session = HERE,
) -> Exit:
    """From a registered model to answers: (quantize,) convert, compile, infer; waits and prints the answers.

    Parameters
    ----------
    model
        Name of a registered model; see: tx81 models
    backend_type
        The converter's --backend-model-type, e.g. qwen2_7b_bf16.
    prompts
        File with one question a line, under a root that the server allows.
    golden
        File with the expected answers; answers that miss them fail the job (exit code 1).
    require
        What answers have to be beside --golden: exact (default), similarity=0.98, final_answer, or report.
    quantize
        Quantise the weights first, for the *_quant types.
    max_tokens
        Maximum number of tokens of an answer.
    groups
        Number of card groups of one host; each answers all prompts.
    cards
        The cards instead: 0..3, 4..7, … 28..31, several ranges (0..3,8..11), 0..31, or the single card 0.
    batch_sizes
        Run the whole test once for each number of card groups, e.g. 1,5,6.
    release
        Toolchain release. Default: the default release.
    name
        Name of the pipeline.
    key
        Idempotency key: repeating the command with the same key and options never starts a second pipeline.
    """
    request = model_to_answers(
        name=name or f"run-{model}"[:100],
        model=model,
        backend_type=backend_type,
        prompts=prompts,
        golden=golden,
        require=require,
        quantize=quantize,
        max_tokens=max_tokens,
        groups=groups,
        cards=cards,
        batch_sizes=batch_sizes,
        release=release,
    )
    with session.client() as client:
        with once(key) as sent:
            pipeline = client.submit_pipeline(request, key=sent)
        ended = _waited(client, [job.id for job in pipeline.jobs], timeout=None)
        code = exit_for(ended)
        infer = next(job for job in ended if job.kind == "infer")
        answered = infer.state is JobState.SUCCEEDED or _only_wrong(infer)
        answers = all_answers(client, infer.id) if answered else []
        document = {
            "pipeline": pipeline.id,
            "jobs": [job.model_dump(mode="json") for job in ended],
            "answers": [answer.model_dump(mode="json") for answer in answers],
        }
        session.emit(document, answers_table(answers) if answered else jobs_table(ended))
        if _only_wrong(infer):
            hint(f"job {infer.id} failed: {reason(infer)}")
        _judged(answers, golden)
        return code


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
        listing.show(session, client.jobs, jobs_list, **filters)
    return Exit.OK


def show(job: int, /, *, session: Session = HERE) -> Exit:
    """Show one job in detail: spec, state and reason, attempts, inputs, outputs, metrics, origin of a cached result."""
    with session.client() as client:
        detail = client.job(job)
        session.emit(detail, job_page(detail))
    return Exit.OK


def wait(*jobs: int, timeout: float | None = None, session: Session = HERE) -> Exit:
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


def all_answers(client: Client, job: int) -> list[AnswerView]:
    """Every answer of a job's latest attempt, page after page."""
    answers: list[AnswerView] = []
    cursor: str | None = None
    while True:
        page = client.answers(job, limit=100, cursor=cursor)
        answers += page.items
        cursor = page.next
        if cursor is None:
            return answers


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


def _as_asked(request: object, jobs: Sequence[JobView]) -> JobView | Sequence[JobView]:
    """One job for one request, a list for many."""
    return jobs[0] if isinstance(request, JobRequest) else jobs


def _waited(client: Client, jobs: Iterable[int], timeout: float | None) -> list[JobDetail]:
    with live_progress() as progress:
        return wait_for(client, jobs, progress=progress, timeout=timeout)


def _only_wrong(job: JobView) -> bool:
    """Whether it has answers, which are not what was required."""
    return job.failure is not None and job.failure.kind in WITH_RESULTS


def _judged(answers: Sequence[AnswerView], golden: Path | None) -> None:
    if answers and golden:
        exact = sum(answer.exact is True for answer in answers)
        hint(f"{exact} of {len(answers)} answers equal the golden answers")


def _numbers(jobs: Iterable[JobView]) -> str:
    return " ".join(str(job.id) for job in jobs)
