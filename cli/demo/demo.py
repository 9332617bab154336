"""`tx81 demo`: a small real model from weights to answers, twice, then on all eight card groups at once.

It checks itself: every job must succeed, every answer be the expected one (if that is unknown, the same on every
card group), no card be asked for twice, Flower show it all, and no process stay behind. What it saw is left in a
summary file for a program to read.
"""

import json
import shlex
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from rich.console import Group
from rich.table import Table
from rich.text import Text

from api.client.client import ApiError, Client
from api.documents.answers import AnswerView
from api.documents.jobs import JobDetail
from cli.demo import flower, leftovers
from cli.demo.subject import Showpiece, Subject, subject
from cli.input.documents import model_to_answers, validated
from cli.pages.jobs import reason
from cli.pages.layout import clean, row, table
from cli.session import Exit, Printing, hint
from cli.stack.embedded import SLOTS, Running, StackPlan, free_port, running
from cli.waiting.jobs import live_progress, watched
from orchestrator.model.slots import GROUPS_PER_HOST, SlotKind, SlotName
from orchestrator.model.specs import JobRequest
from orchestrator.model.states import JobState

_HERE = Printing()
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
    is_golden: bool = True
    """Whether the right answers are known."""
    violations: int = 0
    leftover_processes: int = 0
    troubles: list[str] = field(default_factory=list)
    complete: bool = False

    @property
    def ok(self) -> bool:
        """Whether it finished and everything was OK."""
        return self.complete and not self.troubles

    @property
    def exact(self) -> int:
        """Answers that equal the golden one."""
        return sum(answer.exact is True for answers in self.answers.values() for answer in answers)

    @property
    def same(self) -> int:
        """Answers that card groups side by side gave as most of them did."""
        groups = [self.answers.get(job.id, []) for job in self.jobs if job.name and job.name.startswith("infer-")]
        texts = Counter((answer.repeat, answer.index, answer.text) for answers in groups for answer in answers)
        most: dict[tuple[int, int], int] = {}
        for (repeat, index, _), count in texts.items():
            most[repeat, index] = max(most.get((repeat, index), 0), count)
        return sum(most.values())

    @property
    def good(self) -> int:
        """Answers that are as they should be."""
        return self.exact if self.is_golden else self.same

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
            "answers": {"expected": self.expected, "exact" if self.is_golden else "same": self.good},
            "violations": self.violations,
            "leftover_processes": self.leftover_processes,
        }


def demo(
    *,
    model: Showpiece = Showpiece.TINY,
    state: Path = Path(".tx81/demo"),
    summary: Path = Path(".tx81/demo-summary.json"),
    printing: Printing = _HERE,
) -> Exit:
    """Take a small real model from weights to answers on eight emulated card groups, show what happened, stop.

    Parameters
    ----------
    model
        tiny gives 85 known answers; smollm2 writes free English text, is downloaded once, and takes some minutes.
    state
        State folder of the demo. It is not removed, so that the builds of a second demo come from the cache.
    summary
        File with the summary as JSON: jobs, answers, leftover processes.
    """
    seen = Seen()
    try:
        _play(StackPlan(state=state.absolute(), api_port=free_port(0), flower_port=free_port(0)), seen, model)
    finally:
        seen.seconds = time.monotonic() - seen.started
        summary.parent.mkdir(parents=True, exist_ok=True)
        summary.write_text(json.dumps(seen.summary(), indent=2) + "\n")
    printing.emit(seen.summary(), _page(seen, state, summary))
    for trouble in seen.troubles:
        hint(f"NOT OK: {trouble}")
    return Exit.OK if seen.ok else Exit.JOB_FAILED


def _play(plan: StackPlan, seen: Seen, model: Showpiece) -> None:
    """Everything from the first process to the last, and the verdict on it."""
    before, began = leftovers.running(), time.time()
    try:
        with running(plan) as stack, Client(stack.server, stack.token) as client:
            seen.events = Path(stack.tools["events"])
            _work(client, stack, seen, model)
    finally:
        seen.leftover_processes = _leftovers(plan, before, seen)
        seen.violations = _violations(seen.events, began) if seen.events else 0
    seen.complete = True
    if seen.good != seen.expected:
        wanted = "as expected" if seen.is_golden else "the same on all card groups"
        seen.troubles.append(f"{seen.good} of {seen.expected} answers are {wanted}")
    if seen.violations:
        seen.troubles.append(f"{seen.violations} times a process opened a card that another process had open")


def _work(client: Client, stack: Running, seen: Seen, model: Showpiece) -> None:
    hint(f"ready after {time.monotonic() - seen.started:.0f} s: {stack.server}, Flower {stack.flower}")
    chosen = subject(model, client, stack)
    hint("two pipelines from weights to answers in parallel, bf16 and int8")
    built = _finished(client, _submit_pipelines(client, chosen), seen, chosen.longest)
    kcore = next(job for job in built if job.name == "bf16-compile")
    if kcore.state is JobState.SUCCEEDED:
        hint("one inference on each of the eight card groups, in parallel")
        _finished(client, _submit_one_a_group(client, chosen, kcore.id), seen, chosen.longest)
    seen.is_golden = chosen.golden is not None
    seen.expected = chosen.questions * (GROUPS_PER_HOST + 2 * seen.is_golden)
    seen.answers = {
        job.id: list(client.all_answers(job.id)) for job in seen.jobs if job.kind == "infer" and job.answers
    }
    for job in seen.jobs:
        if job.state is not JobState.SUCCEEDED:
            seen.troubles.append(f"job {job.id} {job.name} is {job.state}: {clean(reason(job))}")
            _show_log(client, job)
    seen.troubles += flower.troubles(stack.plan.flower_port, stack.flower_password(), seen.jobs, workers=SLOTS)


def _submit_pipelines(client: Client, chosen: Subject) -> list[int]:
    submitted = []
    for prefix, backend_type in chosen.backend_types.items():
        request = model_to_answers(
            name=f"demo-{prefix}",
            prefix=f"{prefix}-",
            model=chosen.model,
            backend_type=backend_type,
            prompts={"path": str(chosen.prompts)},
            golden={"path": str(chosen.golden)} if chosen.golden else None,
            quantize=prefix == "int8",
            max_tokens=chosen.max_tokens,
        )
        submitted += [job.id for job in client.submit_pipeline(request).jobs]
    return submitted


def _submit_one_a_group(client: Client, chosen: Subject, compiled: int) -> list[int]:
    asked = {
        "kind": "infer",
        "model": chosen.model,
        "kcore": {"job": compiled, "artifact": "kcore"},
        "prompts": {"path": str(chosen.prompts)},
        **({"golden": {"path": str(chosen.golden)}} if chosen.golden else {}),
        **({"max_tokens": chosen.max_tokens} if chosen.max_tokens else {}),
    }
    groups = [SlotName(SlotKind.CARD_GROUP, index) for index in range(GROUPS_PER_HOST)]
    return [
        job.id
        for job in client.submit_many(
            validated(JobRequest, {"name": f"infer-{group}", "spec": {**asked, "cards": group.card_range}})
            for group in groups
        )
    ]


def _finished(client: Client, jobs: Sequence[int], seen: Seen, longest: float) -> list[JobDetail]:
    with live_progress(lines_when_piped=True) as progress:
        try:
            ended = list(watched(client, jobs, progress or (lambda _jobs: None), longest).values())
        except TimeoutError:
            seen.troubles.append(f"not all jobs ended within {longest:g} s")
            ended = [client.job(job) for job in jobs]
    seen.jobs += ended
    return ended


def _leftovers(plan: StackPlan, before: frozenset[psutil.Process], seen: Seen) -> int:
    """How many processes outlived the stack, after the second that the kernel may need to remove the last."""
    deadline = time.monotonic() + 1.0
    while (left := leftovers.left_of(plan.mark, plan.state, before=before)) and time.monotonic() < deadline:
        time.sleep(0.1)
    seen.troubles += [f"process {one.pid} is still running: {clean(leftovers.command(one))}" for one in left]
    return len(left)


def _violations(events: Path, since: float) -> int:
    """Lines in the emulated cards' log, since that time, of a card asked for while another process held it."""
    count = 0
    for line in events.read_bytes().splitlines():
        try:
            event = json.loads(line)
            count += event["event"] == "violation" and event["ts"] >= since
        except (ValueError, LookupError, TypeError):
            continue  # torn by a full disk; the emulator's own audit reports those
    return count


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
    verdict = "OK" if seen.ok else "NOT OK"
    wanted = "exact" if seen.is_golden else "the same on all groups"
    facts = (
        f"\n{verdict}: {seen.good} of {seen.expected} answers {wanted}, {seen.violations} violations, "
        f"{seen.leftover_processes} processes left, {seen.seconds:.0f} s"
    )
    next_steps = (
        f"\nlogs of the services   {state / 'logs'}\nsummary as JSON        {summary}\n"
        f"keep it running        tx81 up --state {shlex.quote(str(state))}    (API and Flower, until Ctrl-C)\n"
        "run it again           the builds then come from the cache\n"
        "documentation          README.md, docs/"
    )
    return Group(_results(seen), Text(facts), Text(next_steps))


def _results(seen: Seen) -> Table:
    numbers = {"job", "seconds", "tokens/s", "exact"}
    shown = table("job", "name", "slot", "state", "seconds", "cached", "tokens/s", "exact", right=numbers)
    for job in seen.jobs:
        answers = seen.answers.get(job.id, [])
        judged = answers if seen.is_golden else []
        exact = f"{sum(answer.exact is True for answer in judged)}/{len(judged)}" if judged else ""
        cached = f"job {job.cached_from}" if job.cached_from is not None else ""
        speed = _tokens_per_second(job)
        row(shown, job.id, job.name, job.last_slot_id, job.state, _seconds(job), cached, speed, exact)
    return shown


def _tokens_per_second(job: JobDetail) -> str:
    return next(
        (f"{metric.value:.0f}" for metric in job.metrics if metric.name == "output_throughput" and metric.value), ""
    )
