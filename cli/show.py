"""How things look on a terminal: tables and pages from what the API answers. Pure: it prints nothing.

Text from outside (names, reasons, answers) is never read as markup, and its control characters are shown, not sent to
the terminal.
"""

import shlex
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from api.documents.answers import AnswerView
from api.documents.artifacts import ArtifactView
from api.documents.hosts import HostView
from api.documents.jobs import JobDetail, JobView, OrderOutcome
from api.documents.models import ModelView
from api.documents.pipelines import PipelineView
from api.documents.releases import ReleaseView
from api.documents.slots import Presence, SlotView
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.slots import together
from orchestrator.model.states import FINAL, JobState, ServiceState

_STYLE: Mapping[str, str] = {
    "succeeded": "green",
    "failed": "red",
    "cancelled": "yellow",
    "skipped": "yellow",
    "running": "cyan",
    "assigned": "cyan",
    "alive": "green",
    "lost": "red",
    "stopped": "red",
    "quarantined": "red",
    "draining": "yellow",
    "drained": "yellow",
    "done": "green",
    "refused": "red",
    "ok": "green",
    "warn": "yellow",
    "fail": "red",
}


def jobs_table(jobs: Iterable[JobView]) -> Table:
    """Jobs, one a line: where each stands and why."""
    shown = table("job", "name", "kind", "model", "state", "slot", "seconds", "why", right={"job", "seconds"})
    for job in jobs:
        place = together(job.last_slot_ids) if job.last_slot_ids else None
        row(shown, job.id, job.name, job.kind, job.model, job.state, place, seconds_of(job), reason(job))
    return shown


def pipelines_table(pipelines: Iterable[PipelineView]) -> Table:
    """Pipelines with their jobs counted by state."""
    shown = table("pipeline", "name", "project", "state", "jobs", "since", right={"pipeline"})
    for pipeline in pipelines:
        counts = ", ".join(f"{count} {state}" for state, count in pipeline.counts.items() if count)
        row(shown, pipeline.id, pipeline.name, pipeline.project, pipeline.state, counts, _ago(pipeline.created_at))
    return shown


def slots_table(slots: Iterable[SlotView]) -> Table:
    """Slots: who is there, what it does, and who waits for it."""
    shown = table("slot", "cards", "worker", "service", "occupancy", "job", "queued", "why", right={"queued"})
    for slot in slots:
        cards = f"{slot.cards[0]}..{slot.cards[-1]}" if slot.cards else ""
        job = f"{slot.job.id} {slot.job.name}" if slot.job else ""
        row(
            shown, slot.id, cards, slot.presence, slot.service_state, slot.occupancy, job, slot.queued or "",
            "; ".join(filter(None, (out_of_service(slot), reserved(slot)))),
        )  # fmt: skip
    return shown


def hosts_table(hosts: Iterable[HostView]) -> Table:
    """Hosts: who is there, how many slots could take a job, and how the others stand."""
    shown = table("host", "worker", "free", "slots", "not in service", "seen", "labels", right={"slots"})
    for host in hosts:
        free = ", ".join(f"{count} {kind}" for kind, count in sorted(host.free.items())) or "none"
        out = [
            f"{count} {state}"
            for counts, usual in ((host.presence, Presence.ALIVE), (host.service, ServiceState.IN_SERVICE))
            for state, count in sorted(counts.items())
            if state != usual
        ]
        worker = Presence.ALIVE if Presence.ALIVE in host.presence else Presence.AWAY
        last = host.last_seen_at or host.away_since
        seen = _ago(last) if last else "never"
        labels = " ".join(f"{name}={value}" for name, value in sorted(host.labels.items()))
        row(shown, host.name, worker, free, host.slots, ", ".join(out), seen, labels)
    return shown


def orders_table(outcomes: Iterable[OrderOutcome]) -> Table:
    """What became of an order, one job a line."""
    shown = table("job", "order", "state", "why", right={"job"})
    for outcome in outcomes:
        row(shown, outcome.job, "done" if outcome.done else "refused", outcome.state, outcome.detail)
    return shown


def artifacts_table(artifacts: Iterable[ArtifactView]) -> Table:
    """Stored files and trees, and the job that made each."""
    shown = table("artifact", "name", "file", "kind", "size", "job", "digest", right={"artifact", "size", "job"})
    for found in artifacts:
        kind = "tree" if found.tree else "file"
        row(shown, found.id, found.name, found.file_name, kind, size(found.size), found.job_id, found.digest)
    return shown


def models_table(models: Iterable[ModelView]) -> Table:
    """Registered weights."""
    shown = table("model", "family", "size", "path", "digest", right={"size"})
    for model in models:
        row(shown, model.name, model.family, size(model.size), model.path, short(model.digest))
    return shown


def releases_table(releases: Iterable[ReleaseView]) -> Table:
    """Registered toolchain releases."""
    shown = table("release", "default", "root", "digest")
    for release in releases:
        row(shown, release.name, "yes" if release.is_default else "", release.root, short(release.digest))
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


def checks_table(checks: Iterable[tuple[str, str, str]]) -> Table:
    """Lines of (what was looked at, ok|warn|fail, what was found and the remedy)."""
    shown = table("", "check", "found")
    for name, verdict, found in checks:
        row(shown, verdict, name, found)
    return shown


def job_page(job: JobDetail) -> RenderableType:
    """Everything a person wants to know of one job, on one page."""
    headline = heading(f"job {job.id}", f"{job.name} ({job.kind})", job.state)
    why = reason(job)
    parts: list[RenderableType] = [headline, *([Text(f"  {clean(why)}")] if why else []), facts(_about(job))]
    parts += _section("spec", facts({name: _source(value) for name, value in job.spec.items() if value is not None}))
    if job.attempts:
        parts += _section("attempts", _attempts(job))
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
        return job.failure.reason if job.state == JobState.SKIPPED else failure_line(job.failure)
    if job.cached_from is not None:
        return f"from cache: job {job.cached_from}"
    if job.joined_to is not None:
        return f"waits for the identical build of job {job.joined_to}"
    if job.state in FINAL:
        return ""
    if job.cancel_requested:
        return "cancel requested"
    if job.stop is not None:
        return f"being stopped: {job.stop['why']}"
    if job.hold is not None:
        return f"held by {job.hold.by}" + (f": {job.hold.note}" if job.hold.note else "")
    last = job.attempts[-1] if isinstance(job, JobDetail) and job.attempts else None
    if last is not None and last.failure:
        return f"again, after {failure_line(last.failure)}"
    return _progress(last.progress) if last is not None and last.progress else ""


def _progress(told: Mapping[str, Any]) -> str:
    """How far the tool says it is, in whatever it counts."""
    return " of ".join(str(told[name]) for name in ("done", "total") if name in told)


def out_of_service(slot: SlotView) -> str:
    """One line on why a slot is given no work; empty if it is in service."""
    if slot.service_state is ServiceState.IN_SERVICE:
        return ""
    if slot.quarantined_because is not None:
        because = slot.quarantined_because
        source = (
            f" (job {because.job_id})" if because.job_id is not None else f" (by {because.by})" if because.by else ""
        )
        return f"{because.reason}{source}"
    change = slot.service_change
    said = [f"{change.note or 'no note'} (by {change.by})"] if change is not None and change.by else []
    if slot.drained_when is not None:
        said.append(f"drained by {slot.drained_when.astimezone():%Y-%m-%d %H:%M:%S} at the latest")
    return "; ".join(said)


def reserved(slot: SlotView) -> str:
    """One line on the time for which a slot is reserved, now or next; empty if it is not."""
    time = slot.reservation
    if time is None:
        return ""
    whose = f" for project {time.project}" if time.project else ""
    note = f": {time.note}" if time.note else ""
    start, end = (f"{moment.astimezone():%Y-%m-%d %H:%M}" for moment in (time.starts_at, time.ends_at))
    return f"reserved from {start} until {end} by {time.by}{whose}{note}"


def failure_line(failure: Failure) -> str:
    """A failure in one line; a fault of the infrastructure is called that."""
    kind = "infrastructure fault" if failure.kind is FailureKind.FAULT else failure.kind.replace("_", " ")
    return f"{kind}: {failure.reason}"


def seconds_of(job: JobView) -> str:
    """How long it ran, or has run so far."""
    if job.started_at is None:
        return ""
    return f"{((job.ended_at or datetime.now(UTC)) - job.started_at).total_seconds():.1f}"


def size(count: int) -> str:
    """Bytes as a person reads them."""
    amount = float(count)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}" if unit == "B" else f"{amount:.1f} {unit}"
        amount /= 1024
    return f"{amount:.1f} TiB"


def short(digest: str) -> str:
    """Enough of a digest to tell two apart."""
    return digest[:19]


def clean(text: object) -> str:
    """Text in which a control character is visible instead of obeyed by the terminal; line breaks stay."""
    return "".join(char if char.isprintable() or char == "\n" else repr(char)[1:-1] for char in str(text))


def heading(number: str, name: str, state: str) -> Text:
    """The first line of a page: which thing it is about, and where that stands."""
    return Text.assemble(f"{number}  {clean(name)}  ", _cell(state))


def _about(job: JobDetail) -> dict[str, Any]:
    since = {name: f"{value:.1f} s" for name, value in job.timings if value is not None}
    return {
        "project": job.project,
        "release": job.release,
        "pipeline": job.pipeline_id,
        "priority": job.priority,
        "pinned to": job.slot,
        "needs": _references(job.needs),
        "needed by": _references(job.needed_by),
        "cache": f"{job.cache.outcome}: {job.cache.why}",
        "time": ", ".join(f"{name} {value}" for name, value in since.items()),
        "answers": job.answers or None,
        "endpoint": job.endpoint and job.endpoint.url,
    }


def _source(value: Any) -> Any:
    """An input as it was named: a path, a digest, or an artifact of a job."""
    if not isinstance(value, dict):
        return value
    return f"{value['artifact']} of {value['job']}" if "job" in value else value.get("path") or value.get("digest")


def _references(jobs: Sequence[Any]) -> str | None:
    return ", ".join(f"{job.id} {job.name} ({job.state})" for job in jobs) or None


def _attempts(job: JobDetail) -> Table:
    shown = table("#", "slot", "state", "seconds", "exit", "why", right={"#", "seconds", "exit"})
    for attempt in job.attempts:
        why = failure_line(attempt.failure) if attempt.failure else ""
        seconds = "" if attempt.seconds is None else f"{attempt.seconds:.1f}"
        row(shown, attempt.number, together(attempt.slot_ids), attempt.state, seconds, attempt.exit_code, why)
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


def _section(title: str, body: RenderableType) -> list[RenderableType]:
    return [Text(f"\n{title}", style="bold"), body]


def facts(told: Mapping[str, Any]) -> Table:
    """Names and values, one a line, without those that have none."""
    shown = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for name, value in told.items():
        if value not in (None, ""):
            shown.add_row(Text(f"  {name}", style="dim"), Text(clean(value)))
    return shown


def table(*columns: str, right: Set[str] = frozenset()) -> Table:
    """An empty listing with these columns, those in `right` aligned for numbers."""
    shown = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), header_style="bold")
    for column in columns:
        shown.add_column(column, justify="right" if column in right else "left", overflow="fold")
    return shown


def row(shown: Table, *cells: object) -> None:
    """Add a line; states are coloured, nothing is read as markup."""
    shown.add_row(*(_cell(cell) for cell in cells))


def _cell(value: object) -> Text:
    text = "" if value is None else clean(value)
    return Text(text, style=_STYLE.get(text, ""))


def _ago(moment: datetime) -> str:
    seconds = int((datetime.now(UTC) - moment).total_seconds())
    for unit, length in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit} ago"
    return f"{seconds} s ago"
