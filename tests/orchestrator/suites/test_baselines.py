"""Baselines: who may set them from what, what becomes of them, and what is never removed because of them."""

from datetime import timedelta

import pytest
from builders.databases import both_databases, nothing_written
from builders.ended import a_result
from builders.lifecycle import now
from builders.rows import a_job_row, an_artifact
from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.errors import AlreadyExists, BadRequest, IllegalTransition, NotFound
from orchestrator.model.baselines import BaselineOrder
from orchestrator.model.doubts import DoubtReason, LiftOrder
from orchestrator.model.states import JobState
from orchestrator.slots import doubt
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Baseline, Event, JobInput, Metric
from orchestrator.suites import baselines

pytestmark = both_databases

CELL = "model=qwen,prompts=basic"


def _runs(session: Session, *values: float, **facts) -> list[int]:
    """Jobs that measured these times to the first token."""
    return [a_result(session, {"ttft": value}, ["四"], **facts).job_id for value in values]


def _set(session: Session, jobs, *, replaces: int | None = None, **facts) -> Baseline:
    order = {"suite": "nightly", "cell": CELL, "jobs": tuple(jobs), "reason": "as delivered", **facts}
    return baselines.order(session, BaselineOrder(**order, replaces=replaces), by="alice", now=now())


def _events(database: Database) -> list[tuple[str, str, str]]:
    with database.read() as session:
        found = select(Event).where(Event.kind.startswith("baseline.")).order_by(Event.id)
        return [(event.kind, event.data["by"], event.data["why"]) for event in session.scalars(found)]


def test_a_baseline_is_a_copy_that_does_not_change_with_its_jobs(database: Database):
    with database.write() as session:
        jobs = _runs(session, 1.0, 1.1)
        made = _set(session, jobs)
        for metric in session.scalars(select(Metric)):
            metric.value = 9.0

    with database.read() as session:
        side = baselines.as_side(baselines.current(session, "nightly")[CELL])
        facts = baselines.baseline(session, made.id)
    assert (side.samples, side.definitions) == ({"ttft": (1.0, 1.1)}, {"ttft": ("s", "ttft")})
    assert [(answer.text, answer.job_id) for answer in side.answers] == [("四", job) for job in jobs]
    assert [setting["slots"] for setting in side.settings] == [["lab1.g0"]] * 2
    assert (facts.jobs, facts.doubtful, facts.baseline.author) == (tuple(jobs), {}, "alice")
    assert _events(database) == [("baseline.set", "alice", "as delivered")]


def test_a_shift_is_a_new_baseline_from_a_later_run_and_the_old_one_stays_as_it_was(database: Database):
    with database.write() as session:
        old = _set(session, _runs(session, 1.0, 1.1))
        new = _set(session, _runs(session, 2.0, 2.1), replaces=old.id, reason="the exact softmax is slower")

    with database.read() as session:
        assert baselines.current(session, "nightly")[CELL].id == new.id
        kept = session.get_one(Baseline, old.id)
        assert (kept.samples, kept.ended_by, kept.ended_reason) == (
            {"ttft": [1.0, 1.1]}, "alice", "the exact softmax is slower",
        )  # fmt: skip
        assert [facts.baseline.id for facts in baselines.baselines(session, limit=9)] == [new.id]
        assert len(baselines.baselines(session, limit=9, ended=True)) == 2


def test_a_second_baseline_of_a_cell_needs_the_first_to_be_named(database: Database):
    with database.write() as session:
        first = _set(session, _runs(session, 1.0))
        jobs = _runs(session, 2.0)
        with pytest.raises(AlreadyExists, match=f"replaces {first.id}: tx81 baselines accept {first.id}"):
            _set(session, jobs)
        with pytest.raises(IllegalTransition, match=f"{first.id} is"):
            _set(session, jobs, replaces=4711)
        other = _set(session, jobs, cell="model=other")
        assert set(baselines.current(session, "nightly")) == {CELL, other.cell}


def test_a_shift_is_never_accepted_from_runs_before_the_baseline(database: Database):
    with database.write() as session:
        earlier = _runs(session, 2.0)
        first = _set(session, _runs(session, 1.0))
        with pytest.raises(BadRequest) as refused:
            _set(session, earlier, replaces=first.id)

    assert refused.value.field == "jobs"


def test_jobs_that_cannot_be_a_baseline_are_listed_each_with_its_reason(database: Database):
    with database.write() as session:
        good = _runs(session, 1.0)
        doubted = _runs(session, 1.0, slots=("lab1.g7",))
        doubt.doubt_since_last_proof(session, "lab1.g7", DoubtReason.CANARY_FAILED, {"reason": "r"}, now())
        failed, running = (a_job_row(session, state=state).id for state in (JobState.FAILED, JobState.RUNNING))
    with nothing_written(database), database.write() as session, pytest.raises(BadRequest) as refused:
        _set(session, [*good, *doubted, failed, running, 4711])

    assert refused.value.field == "jobs"
    for told in (
        f"job {doubted[0]} is in doubt (canary_failed)", f"job {failed} is failed", f"job {running} is running",
        "job 4711 does not exist",
    ):  # fmt: skip
        assert told in refused.value.detail
    assert f"job {good[0]} " not in refused.value.detail


def test_jobs_without_results_and_jobs_of_two_models_are_no_baseline(database: Database):
    other = {"spec": {"kind": "quantize", "model": "other"}}
    with database.write() as session:
        with pytest.raises(BadRequest, match="neither metrics nor answers"):
            _set(session, [a_result(session).job_id])
        with pytest.raises(BadRequest, match="differ in model"):
            _set(session, [*_runs(session, 1.0), *_runs(session, 1.0, request=other)])


def test_a_number_that_is_none_is_left_out_of_the_samples(database: Database):
    with database.write() as session:
        made = _set(session, _runs(session, 1.0, float("inf")))

        assert baselines.as_side(made).samples == {"ttft": (1.0,)}


def test_a_retired_baseline_holds_nothing_any_more_and_says_who_retired_it(database: Database):
    with database.write() as session:
        made = _set(session, _runs(session, 1.0))
        baselines.retire(session, made.id, by="bob", reason="wrong prompts", now=now())
        assert baselines.current(session, "nightly") == {}
        with pytest.raises(IllegalTransition, match="ended already, by bob"):
            baselines.retire(session, made.id, by="bob", reason="again", now=now())
        with pytest.raises(NotFound):
            baselines.retire(session, 4711, by="bob", reason="again", now=now())
        _set(session, _runs(session, 2.0))

    assert _events(database)[1] == ("baseline.retired", "bob", "wrong prompts")


def test_a_baseline_is_shown_and_not_used_while_a_run_of_it_is_in_doubt(database: Database):
    with database.write() as session:
        jobs = [*_runs(session, 1.0), *_runs(session, 1.1, slots=("lab1.g7",))]
        made = _set(session, jobs)
        doubt.doubt_since_last_proof(session, "lab1.g7", DoubtReason.STICKY_FAULT, {"reason": "r"}, now())

        assert baselines.current(session, "nightly") == {}
        assert baselines.baseline(session, made.id).doubtful == {jobs[1]: "sticky_fault"}

        doubt.lift(session, LiftOrder(job=jobs[1], note="cable replaced"), by="alice", now=now())
        assert baselines.current(session, "nightly")[CELL].id == made.id


def test_garbage_collection_keeps_what_a_baseline_names_also_after_it_has_ended(
    database: Database, store: ArtifactStore
):
    stored = {name: store.put_bytes(name.encode()).digest for name in ("log", "kcore", "answers", "other")}
    with database.write() as session:
        attempt = a_result(session, {"ttft": 1.0})
        session.get_one(Attempt, attempt.id).log_digest = stored["log"]
        session.add(JobInput(job_id=attempt.job_id, name="kcore", digest=stored["kcore"]))
        an_artifact(session, job_id=attempt.job_id, attempt_id=attempt.id, digest=stored["answers"])
        an_artifact(session, job_id=a_result(session).job_id, digest=stored["other"])
        made = _set(session, [attempt.job_id])
        baselines.retire(session, made.id, by="bob", reason="wrong prompts", now=now())

    with database.read() as session:
        store.collect_garbage(baselines.kept_digests(session), older_than=timedelta(0))

    assert {name for name, digest in stored.items() if store.exists(digest)} == {"log", "kcore", "answers"}
