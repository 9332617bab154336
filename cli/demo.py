"""`tx81 demo`: a small real model from weights to answers, twice, then on all eight card groups at once.

It judges itself: every job must succeed, every answer be the expected one, no card be asked for twice, Flower show it
all, and no process stay behind. What it saw is left in a summary file for a program to read.
"""

import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Group
from rich.table import Table
from rich.text import Text

from api.answers import AnswerView
from api.client import ApiError, Client
from api.schemas import JobDetail
from cli import flower
from cli.documents import model_to_answers, validated
from cli.embedded import SLOTS, Plan, Running, free_port, running
from cli.jobs import all_answers
from cli.leftovers import left_of, moment
from cli.session import Exit, Printing, hint
from cli.show import clean, reason, row, table
from cli.watching import live_progress, watched
from orchestrator.model.slots import GROUPS_PER_HOST, SlotKind, SlotName
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import JobState

_HERE = Printing()
_LONGEST = 180.0
"""Seconds for one round of jobs; it takes some ten on two cores, and a machine may be busy with other things."""
_LOG_LINES = 15


@dataclass
class Seen:
    """What the demo saw, for the summary, the table and the verdict."""

    events: Path | None = None
    started: float = field(default_factory=time.monotonic)
    seconds: float = 0.0
    jobs: list[JobDetail] = field(default_factory=list)
    answers: dict[int, list[AnswerView]] = field(default_factory=dict)
    expected: int = 0
    violations: int = 0
    leftover_processes: int = 0
    troubles: list[str] = field(default_factory=list)
    complete: bool = False

    @property
    def ok(self) -> bool:
        """Whether it came to its end and all was as it should be."""
        return self.complete and not self.troubles

    @property
    def exact(self) -> int:
        """Answers that equal the golden one."""
        return sum(answer.exact is True for answers in self.answers.values() for answer in answers)

    def summary(self) -> dict[str, Any]:
        """The document for programs."""
        return {
            "ok": self.ok,
            "seconds": round(self.seconds, 1),
            "jobs": [
                {
                    "name": job.name,
                    "kind": job.kind,
                    "slot": job.last_slot_id,
                    "state": job.state.value,
                    "seconds": _seconds(job) or 0.0,
                    "cached_from": job.cached_from,
                }
                for job in self.jobs
            ],
            "answers": {"expected": self.expected, "exact": self.exact},
            "violations": self.violations,
            "leftover_processes": self.leftover_processes,
        }


def demo(
    *,
    state: Path = Path(".tx81/demo"),
    summary: Path = Path(".tx81/demo-summary.json"),
    printing: Printing = _HERE,
) -> Exit:
    """Take a small real model from weights to answers on eight emulated card groups, show what happened, stop.

    Parameters
    ----------
    state
        Folder of the demo's stack; kept, so that a second demo finds its builds in the cache.
    summary
        File for a program: what ran, what was answered, what stayed behind.
    """
    seen = Seen()
    try:
        _play(Plan(state=state.absolute(), api_port=free_port(0), flower_port=free_port(0)), seen)
    finally:
        seen.seconds = time.monotonic() - seen.started
        summary.parent.mkdir(parents=True, exist_ok=True)
        summary.write_text(json.dumps(seen.summary(), indent=2) + "\n")
    printing.emit(seen.summary(), _page(seen, state, summary))
    for trouble in seen.troubles:
        hint(f"NOT OK: {trouble}")
    return Exit.OK if seen.ok else Exit.JOB_FAILED


def _play(plan: Plan, seen: Seen) -> None:
    """Everything from the first process to the last, and the verdict on it."""
    booted, began = moment(), time.time()
    try:
        with running(plan) as stack, Client(stack.server, stack.token) as client:
            seen.events = Path(stack.tools["events"])
            _work(client, stack, seen)
    finally:
        seen.leftover_processes = _leftovers(plan, booted, seen)
        seen.violations = _violations(seen.events, began) if seen.events else 0
    seen.complete = True
    if seen.exact != seen.expected:
        seen.troubles.append(f"{seen.exact} of {seen.expected} answers are as expected")
    if seen.violations:
        seen.troubles.append(f"{seen.violations} times a card was asked for that another process held")


def _work(client: Client, stack: Running, seen: Seen) -> None:
    hint(f"ready after {time.monotonic() - seen.started:.0f} s: {stack.server}, Flower {stack.flower}")
    hint("two pipelines from weights to answers, bf16 and int8, at the same time")
    built = _finished(client, _submit_pipelines(client, stack), seen)
    kcore = next(job for job in built if job.name == "bf16-compile")
    if kcore.state is JobState.SUCCEEDED:
        hint("one inference on each of the eight card groups, at the same time")
        _finished(client, _submit_one_a_group(client, stack, kcore.id), seen)
    prompts = _lines(stack.tools["prompts"])
    seen.expected = prompts * (2 + GROUPS_PER_HOST)
    seen.answers = {job.id: all_answers(client, job.id) for job in seen.jobs if job.kind == "infer" and job.answers}
    for job in seen.jobs:
        if job.state is not JobState.SUCCEEDED:
            seen.troubles.append(f"job {job.id} {job.name} has {job.state}: {clean(reason(job))}")
            _show_log(client, job)
    seen.troubles += flower.troubles(stack.plan.flower_port, seen.jobs, workers=SLOTS)


def _submit_pipelines(client: Client, stack: Running) -> list[int]:
    submitted = []
    for prefix, backend_type, quantize in (("bf16", "qwen2_7b_bf16", False), ("int8", "qwen2_7b_quant", True)):
        request = model_to_answers(
            name=f"demo-{prefix}",
            prefix=f"{prefix}-",
            model=str(stack.model),
            backend_type=backend_type,
            prompts=Path(stack.tools["prompts"]),
            golden=Path(stack.tools["golden"]),
            quantize=quantize,
        )
        submitted += [job.id for job in client.submit_pipeline(request).jobs]
    return submitted


def _submit_one_a_group(client: Client, stack: Running, compiled: int) -> list[int]:
    groups = [SlotName(SlotKind.CARD_GROUP, index) for index in range(GROUPS_PER_HOST)]
    return [
        job.id
        for job in client.submit_many(
            validated(
                JobRequest,
                {
                    "name": f"infer-{group}",
                    "spec": {
                        "kind": "infer",
                        "model": stack.model,
                        "kcore": {"job": compiled, "artifact": "kcore"},
                        "prompts": {"path": stack.tools["prompts"]},
                        "golden": {"path": stack.tools["golden"]},
                        "cards": group.card_range,
                    },
                },
            )
            for group in groups
        )
    ]


def _finished(client: Client, jobs: Sequence[int], seen: Seen) -> list[JobDetail]:
    with live_progress(lines_when_piped=True) as progress:
        try:
            ended = list(watched(client, jobs, progress or (lambda _jobs: None), _LONGEST).values())
        except TimeoutError:
            seen.troubles.append(f"not all jobs ended within {_LONGEST:g} s")
            ended = [client.job(job) for job in jobs]
    seen.jobs += ended
    return ended


def _leftovers(plan: Plan, since: int, seen: Seen) -> int:
    """How many processes outlived the stack, after the second that the kernel may need to bury the last."""
    deadline = time.monotonic() + 1.0
    while (left := left_of(plan.mark, plan.state, since=since)) and time.monotonic() < deadline:
        time.sleep(0.1)
    seen.troubles += [f"process {process.pid} is still there: {clean(process.command)}" for process in left]
    return len(left)


def _violations(events: Path, since: float) -> int:
    """Lines in the emulated cards' log, since that time, of a card asked for while another process held it."""
    count = 0
    for line in events.read_bytes().splitlines():
        try:
            event = json.loads(line)
            count += event["event"] == "violation" and event["ts"] >= since
        except (ValueError, LookupError, TypeError):
            continue  # torn by a full disk; the emulator's own audit tells of those
    return count


def _lines(file: str) -> int:
    return sum(bool(line.strip()) for line in Path(file).read_text("utf-8").splitlines())


def _show_log(client: Client, job: JobDetail) -> None:
    if job.attempts:
        try:
            tail = client.log_tail(job.id, _LOG_LINES).content.decode(errors="replace")
        except ApiError as error:
            tail = f"no log: {error}"
        hint(f"--- the end of the log of job {job.id} {job.name}\n{clean(tail)}\n---")


def _seconds(job: JobDetail) -> float | None:
    if job.started_at is None or job.ended_at is None:
        return None
    return round((job.ended_at - job.started_at).total_seconds(), 2)


def _page(seen: Seen, state: Path, summary: Path) -> Group:
    verdict = "all as it should be" if seen.ok else "NOT as it should be"
    facts = (
        f"\n{verdict}: {seen.exact} of {seen.expected} answers exact, {seen.violations} violations, "
        f"{seen.leftover_processes} processes left, {seen.seconds:.0f} s"
    )
    next_steps = (
        f"\nlogs of the services   {state / 'logs'}\nthis as a document     {summary}\n"
        f"look around            tx81 up --state {state}    (API and Flower, until Ctrl-C)\n"
        "run it again           the builds now come from the cache\n"
        "read on                README.md, docs/"
    )
    return Group(_results(seen), Text(facts), Text(next_steps))


def _results(seen: Seen) -> Table:
    numbers = {"job", "seconds", "tokens/s", "exact"}
    shown = table("job", "name", "slot", "state", "seconds", "cached", "tokens/s", "exact", right=numbers)
    for job in seen.jobs:
        answers = seen.answers.get(job.id, [])
        exact = f"{sum(answer.exact is True for answer in answers)}/{len(answers)}" if answers else ""
        cached = f"job {job.cached_from}" if job.cached_from is not None else ""
        speed = _tokens_per_second(job)
        row(shown, job.id, job.name, job.last_slot_id, job.state, _seconds(job), cached, speed, exact)
    return shown


def _tokens_per_second(job: JobDetail) -> str:
    return next(
        (f"{metric.value:.0f}" for metric in job.metrics if metric.name == "output_throughput" and metric.value), ""
    )
