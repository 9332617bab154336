"""The table of jobs and the page of one."""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.documents.answers import AnswerView
from api.documents.endpoints import EndpointView
from api.documents.jobs import CheckedJob, JobDetail, JobView, OrderOutcome, TelemetryView
from cli.pages.catalog import artifacts_table
from cli.pages.doubts import doubt_line
from cli.pages.layout import Times, _section, both, clean, facts, heading, row, table, when
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.orders import ordered_by
from orchestrator.model.slots import together
from orchestrator.model.states import FINAL


def jobs_table(jobs: Iterable[JobView]) -> Table:
    """Jobs, one a line: where each stands and why."""
    shown = table("job", "name", "kind", "model", "state", "slot", "seconds", "why", right={"job", "seconds"})
    for job in jobs:
        place = together(job.last_slot_ids) if job.last_slot_ids else None
        row(shown, job.id, job.name, job.kind, job.model, job.state, place, seconds_of(job), reason(job))
    return shown


def checked_table(jobs: Iterable[CheckedJob]) -> Table:
    """What jobs would be that were only checked, one a line."""
    shown = table("name", "kind", "release", "slots", "priority", "run limit", right={"priority", "run limit"})
    for job in jobs:
        row(shown, job.name, job.kind, job.release, job.demand, job.priority, f"{job.run_seconds} s")
    return shown


def jobs_list(jobs: Iterable[JobView], times: Times = "relative") -> Table:
    """Jobs of many people, one a line: whose each is, where it stands and why."""
    columns = ("job", "name", "kind", "model", "project", "user", "state", "slot", "submitted", "seconds", "why")
    shown = table(*columns, right={"job", "seconds"})
    for job in jobs:
        place = together(job.last_slot_ids) if job.last_slot_ids else None
        row(
            shown, job.id, job.name, job.kind, job.model, job.project, job.submitted_by, job.state, place,
            when(job.created_at, times), seconds_of(job), reason(job),
        )  # fmt: skip
    return shown


def orders_table(outcomes: Iterable[OrderOutcome]) -> Table:
    """The outcome of an action, one job per line."""
    shown = table("job", "order", "state", "why", right={"job"})
    for outcome in outcomes:
        row(shown, outcome.job, "done" if outcome.done else "refused", outcome.state, outcome.detail)
    return shown


def answers_table(answers: Iterable[AnswerView]) -> Table:
    """What was asked and answered; `exact` compares with the golden answer, if there is one.

    Where several slots answered, each answer says which gave it, and whether the others say otherwise.
    """
    given = list(answers)
    odd, several = _odd_ones(given), len({answer.slot_id for answer in given}) > 1
    among = ("slot", "differs") if several else ()
    shown = table("#", *among, "question", "answer", "exact", "tokens", "seconds", right={"#", "tokens", "seconds"})
    shown.columns[2 + len(among)].overflow = "fold"
    for answer in given:
        exact = "" if answer.exact is None else "yes" if answer.exact else "NO"
        seconds = "" if answer.seconds is None else f"{answer.seconds:.2f}"
        whose = (answer.slot_id, "DIFFERS" if _place(answer) in odd else "") if several else ()
        row(shown, answer.index, *whose, answer.question, answer.text, exact, answer.output_tokens, seconds)
    return shown


def _odd_ones(answers: Sequence[AnswerView]) -> set[tuple[int, int, int]]:
    """The answers that are not what most slots say to the question; all of them where no answer has the most."""
    texts: dict[tuple[int, int], Counter[str]] = defaultdict(Counter)
    for answer in answers:
        texts[answer.repeat, answer.index][answer.text] += 1
    usual = {place: [text for text, n in said.items() if n == max(said.values())] for place, said in texts.items()}
    return {_place(answer) for answer in answers if usual[answer.repeat, answer.index] != [answer.text]}


def _place(answer: AnswerView) -> tuple[int, int, int]:
    return answer.repeat, answer.index, answer.batch


def job_page(job: JobDetail) -> RenderableType:
    """Everything a person wants to know of one job, on one page."""
    headline = heading(f"job {job.id}", f"{job.name} ({job.kind})", job.state)
    why = reason(job)
    parts: list[RenderableType] = [headline, *([Text(f"  {clean(why)}")] if why else []), facts(_about(job))]
    parts += _section("spec", facts({name: _source(value) for name, value in job.spec.items() if value is not None}))
    if job.attempts:
        parts += _section("attempts", _attempts(job))
    if measured := {attempt.number: attempt.telemetry for attempt in job.attempts if attempt.telemetry is not None}:
        parts += _section("cards", telemetry_table(measured))
    if (command := _command(job)) is not None:
        parts += _section("command", Text(f"  {clean(command)}"))
    if job.inputs:
        parts += _section("inputs", _inputs(job))
    if job.outputs:
        parts += _section("outputs", artifacts_table(job.outputs))
    if job.metrics:
        parts += _section("metrics", metrics_table(job))
    return Group(*parts)


def reason(job: JobView) -> str:
    """One line on why the job stands where it stands; empty if there is nothing to say."""
    if job.failure:
        return failure_line(job.failure)
    if job.cached_from is not None:
        return f"from cache: job {job.cached_from}"
    if job.joined_to is not None:
        return f"waits for the identical build of job {job.joined_to}"
    if job.state in FINAL:
        return ""
    for ordered, order in (("cancelled", job.cancel), ("stopped", job.stop)):
        if order is not None:
            return ordered_by(f"being {ordered}", order["by"], order["why"])
    if job.hold is not None:
        return f"held by {job.hold.by}" + (f": {job.hold.note}" if job.hold.note else "")
    last = job.attempts[-1] if isinstance(job, JobDetail) and job.attempts else None
    if last is not None and last.failure:
        return f"retry after {failure_line(last.failure)}"
    return _progress(job.progress) if job.progress else ""


def _progress(told: Mapping[str, Any]) -> str:
    """How far the tool says it is, in whatever it counts."""
    return " of ".join(str(told[name]) for name in ("done", "total") if name in told)


def failure_line(failure: Failure) -> str:
    """A failure in one line; a fault of the infrastructure is called that, and a cancellation says so itself."""
    if failure.kind is FailureKind.CANCELLED:
        return failure.reason
    kind = "infrastructure fault" if failure.kind is FailureKind.FAULT else failure.kind.replace("_", " ")
    return f"{kind}: {failure.reason}"


def seconds_of(job: JobView) -> str:
    """How long it ran, or has run so far."""
    if job.started_at is None:
        return ""
    return f"{((job.ended_at or datetime.now(UTC)) - job.started_at).total_seconds():.1f}"


def _about(job: JobDetail) -> dict[str, Any]:
    since = {name: f"{value:.1f} s" for name, value in job.timings if value is not None}
    return {
        "project": job.project,
        "submitted by": job.submitted_by,
        "submitted": both(job.created_at),
        "started": job.started_at and both(job.started_at),
        "ended": job.ended_at and both(job.ended_at),
        "release": job.release,
        "pipeline": job.pipeline_id,
        "priority": job.priority,
        "pinned to": job.slot,
        "needs": _references(job.needs),
        "needed by": _references(job.needed_by),
        "cache": f"{job.cache.outcome}: {job.cache.why}",
        "time": ", ".join(f"{name} {value}" for name, value in since.items()),
        "answers": job.answers or None,
        **measured(job),
        "endpoint": job.endpoint and endpoint_line(job.endpoint),
        "doubt": job.doubt and doubt_line(job.doubt),
    }


def endpoint_line(endpoint: EndpointView) -> str:
    """Where a server answers, and whether others than its host can ask it."""
    openly = "; it listens openly: who reaches its host can ask it, without a token" if endpoint.openly else ""
    return f"{endpoint.url}{openly}"


def measured(job: JobDetail) -> dict[str, str]:
    """What a person asks first of a run: how many answers are exact, tokens per second, latency; what is known of it.

    Latency is that of one answer, by the tool's own clock."""
    known = {metric.name: metric for metric in job.metrics if metric.value is not None}
    told = {}
    if (exact := known.get("exact_answers")) is not None:
        told["exact"] = f"{exact.value:.0f} of {exact.count} answers equal the golden answers"
    if (rate := known.get("output_throughput")) is not None:
        told["tokens/s"] = f"{rate.value:,.4g}"
    latency = [f"{shown} {known[name].value:.3g} s" for name, shown in _LATENCY.items() if name in known]
    if latency:
        told["latency"] = ", ".join(latency)
    return told


_LATENCY = {
    "request_seconds_p50": "p50", "request_seconds_p90": "p90", "request_seconds_p99": "p99",
    "request_seconds_max": "max", "ttft_seconds_p50": "first token p50",
}  # fmt: skip


def _source(value: Any) -> Any:
    """An input as it was named: a path, a digest, or an artifact of a job; what is no input, by its fields."""
    if not isinstance(value, dict):
        return value
    if "job" in value:
        return f"{value['artifact']} of {value['job']}"
    plain = ", ".join(f"{name} {told}" for name, told in value.items() if told is not None)
    return value.get("path") or value.get("digest") or plain


def _references(jobs: Sequence[Any]) -> str | None:
    return ", ".join(f"{job.id} {job.name} ({job.state})" for job in jobs) or None


def _attempts(job: JobDetail) -> Table:
    shown = table("#", "slot", "state", "seconds", "exit", "why", right={"#", "seconds", "exit"})
    for attempt in job.attempts:
        why = failure_line(attempt.failure) if attempt.failure else ""
        seconds = "" if attempt.seconds is None else f"{attempt.seconds:.1f}"
        row(shown, attempt.number, together(attempt.slot_ids), attempt.state, seconds, attempt.exit_code, why)
    return shown


def telemetry_table(measured: Mapping[int, TelemetryView]) -> Table:
    """What the cards measured while these attempts ran."""
    numbers = ("min", "mean", "max")
    shown = table("attempt", "measure", *numbers, "on card", "samples", right={"attempt", *numbers})
    for number, telemetry in measured.items():
        for name, seen in telemetry.measures.items():
            values = (f"{getattr(seen, each):.6g}" for each in numbers)
            row(shown, number, name, *values, seen.max_card, telemetry.samples)
    return shown


def _command(job: JobDetail) -> str | None:
    """What the latest attempt ran, as a line for the shell; its environment is in the document."""
    started = [attempt.command for attempt in job.attempts if attempt.command]
    if not started:
        return None
    where = f"in container {started[-1]['container']}: " if "container" in started[-1] else ""
    return f"{where}cd {shlex.quote(started[-1]['cwd'])} && {shlex.join(started[-1]['argv'])}"


def _inputs(job: JobDetail) -> Table:
    shown = table("input", "from", "file", "digest")
    for found in job.inputs:
        origin = f"job {found.from_job_id}" if found.from_job_id is not None else ""
        row(shown, found.name, origin, found.file_name, found.digest or "not made yet")
    return shown


def metrics_table(job: JobDetail) -> Table:
    """The numbers of a job, one a line."""
    shown = table("metric", "value", "unit", "of", right={"value", "of"})
    for metric in job.metrics:
        value = "" if metric.value is None else f"{metric.value:,.4g}"
        row(shown, metric.name, value, metric.unit, metric.count)
    return shown
