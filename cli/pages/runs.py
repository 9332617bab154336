"""The last lines of `tx81 run`: how its jobs ended, and what the inference measured."""

from collections.abc import Sequence

from rich.text import Text

from api.documents.jobs import JobDetail
from cli.pages.jobs import measured, reason
from cli.pages.layout import clean
from orchestrator.model.slots import together
from orchestrator.model.states import JobState


def run_summary(pipeline: int, jobs: Sequence[JobDetail]) -> Text:
    """The pipeline with its jobs by number, the numbers of the inference, and what shows more."""
    failed = [job for job in jobs if job.state is not JobState.SUCCEEDED]
    lines = [f"pipeline {pipeline} {_state(failed)}: {', '.join(map(_job, jobs))}"]
    infer = next(job for job in jobs if job.kind == "infer")
    numbers = measured(infer)
    lines += ["; ".join(f"{value}" if name == "exact" else f"{name} {value}" for name, value in numbers.items())]
    lines += [f"job {job.id} {job.name} {job.state}: {reason(job)}" for job in failed if job.failure]
    shows = [f"tx81 logs {failed[0].id}"] if failed else []
    shows += [f"tx81 answers {infer.id}"] if infer.answers else []
    lines += [f"see: {', '.join(shows)}"] if shows else []
    return Text(clean("\n".join(line for line in lines if line)))


def _state(unsuccessful: Sequence[JobDetail]) -> JobState:
    """A failure is worth more than a cancellation, and both more than the jobs that were skipped because of them."""
    states = {job.state for job in unsuccessful}
    worst = (JobState.FAILED, JobState.CANCELLED, JobState.SKIPPED)
    return next((state for state in worst if state in states), JobState.SUCCEEDED)


def _job(job: JobDetail) -> str:
    place = f" on {together(job.last_slot_ids)}" if job.last_slot_ids else ""
    cached = f" from cache (job {job.cached_from})" if job.cached_from is not None else ""
    return f"job {job.id} {job.name}{place}{cached}"
