"""A/B runs: two inferences repeated on one card group, in one reservation, one run after the other.

Every run needs the one before it, so that they run in the order that takes a drift out, whatever else is queued. The
reservation lets in no other job; it ends when the run is judged.
"""

import random
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.comparisons.runs import read_runs
from orchestrator.comparisons.sides import side_of
from orchestrator.errors import BadSpec, IllegalTransition, NotFound, OrchestratorError
from orchestrator.jobs import admission
from orchestrator.model.ab import PROJECT, AbRequest, SideLetter, order_of
from orchestrator.model.requirements import REPORT
from orchestrator.model.reservations import LONGEST, ReservationRequest
from orchestrator.model.specs import JobRequest, PlacementRequest
from orchestrator.model.suites import JobRole, RunPurpose
from orchestrator.model.verdicts import AnswerRule, Direction, Verdict, overall
from orchestrator.results.blocks import BlockVerdict, in_blocks, judge_blocks
from orchestrator.results.cells import as_document
from orchestrator.results.sides import Rules, differing, direction_of, pairs_of
from orchestrator.results.verdicts import MetricGate, judge_answers
from orchestrator.settings import Settings
from orchestrator.slots import reservations
from orchestrator.storage import events
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Job, SuiteRun
from orchestrator.submission import rows
from orchestrator.submission.drafts import Draft, Drafting
from orchestrator.submission.idempotency import Idempotency, Made
from orchestrator.submission.steps import Steps
from orchestrator.suites.runs import JobOfRun, More, new_batch, note_jobs

BETWEEN = timedelta(seconds=60)
"""Allowed for the way from one run to the next when the slot is reserved."""


class AbRuns:
    """Starts A/B runs."""

    def __init__(self, settings: Settings, database: Database, store: ArtifactStore) -> None:
        self._database = database
        self._store = store
        self._steps = Steps(settings, database, store)

    def start(self, request: AbRequest, *, by: str, idempotency: Idempotency | None = None) -> Made:
        """Reserve the card group and submit all runs, or nothing.

        BadSpec names the side that is no inference on one card group; AlreadyReserved if the group is not free."""
        if (made := self._steps.made_before(idempotency)) is not None:
            return made
        for name, rule in request.gates.items():
            if rule.direction is None and direction_of(name) is Direction.NEITHER:
                why = f"unknown which values of {name} are better: write higher or lower"
                raise BadSpec(why, field=f"gates.{name}.direction")
        with self._database.read() as session:
            slot = request.slot or _last_slot(session, request.a)
            asked = {side: _request_of(session, side, getattr(request, side), slot) for side in ("a", "b")}

        def check(_: Session, drafting: Drafting) -> dict[str, Draft]:
            return {side: drafting.draft(job, side) for side, job in asked.items()}

        try:
            drafts = self._steps.look_up(asked, check)
        except OrchestratorError as trouble:
            trouble.field = "slot" if (trouble.field or "").endswith("placement.slot") else trouble.field
            raise
        # The order is no secret; it has to be unrelated to what is measured.
        order = order_of(request.blocks, request.order, random.Random())  # noqa: S311
        return self._steps.write(idempotency, partial(self._write, request, slot, drafts, order, by))

    def _write(
        self, request: AbRequest, slot: str, drafts: Mapping[str, Draft], order: Sequence[SideLetter], by: str,
        session: Session, now: datetime,
    ) -> Made:  # fmt: skip
        name = f"ab-{request.a}-{request.b}"
        seconds = sum(drafts[side].job["run_seconds"] for side in order) + len(order) * BETWEEN.total_seconds()
        wanted = ReservationRequest(
            slots=(slot,), seconds=int(min(seconds, LONGEST.total_seconds())), project=PROJECT, note=f"A/B run {name}"
        )
        reserved = reservations.reserve(session, wanted, by=by, now=now).reservation
        batch = new_batch(session, name, PROJECT, len(order), now, by=by)
        run = SuiteRun(
            purpose=RunPurpose.AB, batch_id=batch.id, started_by=by, created_at=now,
            report={"reservation": reserved.id, "slot": slot, "request": request.model_dump(mode="json")},
        )  # fmt: skip
        session.add(run)
        session.flush()
        numbers: list[int] = []
        for place, side in enumerate(order, start=1):
            draft = replace(drafts[side].called(f"{name}.{side}.{place}"), needs=_after(drafts[side], numbers))
            numbers += rows.write(session, [draft], now=now, by=by, project=PROJECT, batch_id=batch.id)
        more = [More("", JobRole(side), drafts[side]) for side in order]
        note_jobs(session, run.id, zip(numbers, more, strict=True))
        admission.admit_new(session, self._store, numbers, now=now)
        events.record(session, "ab.started", now, run=run.id, batch=batch.id, slot_id=slot, by=by)
        return Made(tuple(numbers), batch=batch.id)


def _after(draft: Draft, numbers: Sequence[int]) -> frozenset[str | int]:
    return draft.needs | frozenset(numbers[-1:])


def _last_slot(session: Session, job_id: int) -> str:
    latest = select(Attempt.slot_ids).where(Attempt.job_id == job_id).order_by(Attempt.number.desc()).limit(1)
    slots = session.scalar(latest)
    if slots is None:
        raise BadSpec(f"job {job_id} ran nowhere yet; name the card group", field="slot")
    return str(slots[0])


def _request_of(session: Session, side: str, job_id: int, slot: str) -> JobRequest:
    job = session.get(Job, job_id)
    if job is None:
        raise NotFound(f"there is no job {job_id}", field=side)
    if job.kind != "infer":
        raise BadSpec(f"job {job_id} is a {job.kind} job; name two jobs of kind infer", field=side)
    request = JobRequest.model_validate(job.request)
    if getattr(request.spec, "groups", 1) != 1:
        raise BadSpec(f"job {job_id} runs on several card groups; name one that runs on one", field=side)
    spec = request.spec.model_copy(update={"cards": None, "require": REPORT})
    placement = PlacementRequest(slot=slot)
    changed = {"project": PROJECT, "placement": placement, "needs": (), "spec": spec, "release": job.release}
    return request.model_copy(update=changed)


def judge(session: Session, run: SuiteRun, jobs: Sequence[JobOfRun]) -> dict[str, Any]:
    """What is to be written of a run whose jobs have ended: its verdict, why, and its report."""
    request = AbRequest.model_validate((run.report or {})["request"])
    ordered = [(each.role, each.job.id) for each in jobs]
    found = {each.job_id: each for each in read_runs(session, [number for _, number in ordered])}
    sides = {
        side: side_of(session, side, [number for role, number in ordered if role == side])
        for side in (JobRole.A, JobRole.B)
    }
    gates = _gates(request, {name for side in sides.values() for name in side.samples})
    metrics = []
    for name, gate in sorted(gates.items()):
        values = [
            (str(role), found[number].metrics[name].value if _has(found.get(number), name) else None)
            for role, number in ordered
        ]
        metrics.append(judge_blocks(name, in_blocks(values), gate))
    before, after = sides[JobRole.A], sides[JobRole.B]
    rule = AnswerRule(request.answers)
    answers = judge_answers(pairs_of(before.answers, after.answers), rule)
    judged: list[Any] = [metric for metric in metrics if gates[metric.metric].direction is not Direction.NEITHER]
    judged += [answers] if rule is not AnswerRule.REPORT else []
    verdict = overall([each.verdict for each in judged])
    faults = {name for side in sides.values() for name in side.left_out}
    if not before.settings and not after.settings and faults == {"infrastructure"}:
        verdict = Verdict.INFRASTRUCTURE
    report = {
        **(run.report or {}), "metrics": as_document(metrics), "answers": as_document(answers),
        "differences": as_document(differing(before, after, Rules())),
        "left_out": {str(role): dict(side.left_out) for role, side in sides.items()},
    }  # fmt: skip
    return {"verdict": verdict, "why": _why(verdict, metrics, answers.why), "report": report}


def release(session: Session, run: SuiteRun, *, now: datetime) -> None:
    """Give the card group back, if it is an A/B run."""
    number = (run.report or {}).get("reservation")
    if number is None:
        return
    with suppress(IllegalTransition, NotFound):  # it may have ended by itself
        reservations.cancel(session, number, by=run.started_by, note=f"A/B run {run.id} has ended", now=now)


def _has(run: Any, metric: str) -> bool:
    return run is not None and run.used and metric in run.metrics


def _gates(request: AbRequest, measured: set[str]) -> dict[str, MetricGate]:
    if request.gates:
        return {
            name: MetricGate(Direction(rule.direction or direction_of(name)), rule.effect, rule.alpha)
            for name, rule in request.gates.items()
        }
    known = {name: direction_of(name) for name in measured}
    return {name: MetricGate(way) for name, way in known.items() if way is not Direction.NEITHER}


def _why(verdict: Verdict, metrics: Sequence[BlockVerdict], answers: str) -> str:
    same = [metric for metric in metrics if metric.verdict is verdict]
    return f"{same[0].metric}: {same[0].why}" if same else f"answers: {answers}"
