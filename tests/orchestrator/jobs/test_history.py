"""What is told of a job's past, on both databases: every attempt, and what the cache did."""

import pytest
from builders.desk import Desk, compile_of, convert, quantize
from builders.lifecycle import FAULT, TOOL, a_job, a_running_attempt, a_slot, an_assigned_attempt, finish, forget, now
from sqlalchemy import select

from orchestrator.errors import NotFound
from orchestrator.jobs import lifecycle
from orchestrator.jobs.history import ChangedInput, Review, review
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Artifact, Job

OTHER_TYPE = "deepseek_qwen2_7b_bf16"


def _review(desk: Desk, job_id: int) -> Review:
    with desk.database.read() as session:
        return review(session, job_id)


def _output(desk: Desk, job_id: int) -> str:
    with desk.database.read() as session:
        return session.scalars(select(Artifact.digest).where(Artifact.job_id == job_id)).one()


# ── attempts ─────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_every_attempt_says_how_it_ended_and_why_another_one_followed(desk: Desk):
    with desk.database.write() as session:
        slots = [a_slot(session, name) for name in ("g0", "g1", "g2")]
        job = a_job(session)
        never_begun = an_assigned_attempt(session, job, slots[0])
        lifecycle.withdraw(session, never_begun.id, now=now(), why="lab1.g0 is drained")
        finish(session, a_running_attempt(session, job, slots[1]), FAULT)
        finish(session, a_running_attempt(session, job, slots[2]), TOOL)

    tries = _review(desk, job.id).tries

    assert [(tried.number, tried.slot_id, tried.state) for tried in tries] == [
        (1, "lab1.g0", AttemptState.LOST),
        (2, "lab1.g1", AttemptState.FAILED),
        (3, "lab1.g2", AttemptState.FAILED),
    ]
    assert [tried.again_because for tried in tries] == [
        "lab1.g0 is drained",
        "infrastructure fault 1 of at most 3: the card died",
        None,
    ]
    assert [tried.failure and tried.failure.kind for tried in tries] == ["fault", "fault", "tool"]
    assert tries[0].started_at is None
    assert desk.states(job.id) == [JobState.FAILED]


def test_why_a_job_was_queued_first_is_no_reason_for_an_attempt(desk: Desk):
    build = desk.submit(convert())
    desk.build(build)

    (tried,) = _review(desk, build).tries

    assert (tried.state, tried.again_because) == (AttemptState.SUCCEEDED, None)


def test_a_job_that_is_not_there_has_no_past(desk: Desk):
    with pytest.raises(NotFound):
        _review(desk, 4711)


# ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_the_first_build_of_a_kind_has_none_to_be_compared_with(desk: Desk):
    build = desk.submit(convert())

    told = _review(desk, build)

    assert (told.nearest, told.changed) == (None, [])
    assert told.queued_because == "cache missed: no earlier build of this kind has succeeded"


def test_a_changed_parameter_is_told_with_both_values(desk: Desk):
    earlier = desk.submit(convert())
    desk.build(earlier)

    told = _review(desk, desk.submit(convert(backend_type=OTHER_TYPE)))

    assert told.nearest == earlier
    assert told.changed == [ChangedInput("parameter backend_type", "qwen2_7b_bf16", OTHER_TYPE, None, None)]


def test_a_changed_artifact_is_told_with_the_jobs_that_made_both(desk: Desk):
    sources = [desk.submit(convert(backend_type=kind)) for kind in ("qwen2_7b_bf16", OTHER_TYPE)]
    for source in sources:
        desk.build(source)
    earlier = desk.submit(compile_of(sources[0]))
    desk.build(earlier)

    told = _review(desk, desk.submit(compile_of(sources[1])))

    before, after = (_output(desk, source) for source in sources)
    assert told.nearest == earlier
    assert told.changed == [ChangedInput("input c_source", before, after, *sources)]


def test_an_input_that_was_added_is_told_as_nothing_before(desk: Desk):
    gm = desk.submit(quantize())
    desk.build(gm)
    earlier = desk.submit(convert())
    desk.build(earlier)

    quantised = convert(backend_type="qwen2_7b_quant", gm={"job": gm, "artifact": "gm"})
    changed = {change.part: change for change in _review(desk, desk.submit(quantised)).changed}

    assert changed["input gm"] == ChangedInput("input gm", None, _output(desk, gm), None, gm)


def test_of_builds_that_are_equally_near_the_newest_is_compared_with(desk: Desk):
    for kind in ("qwen2_7b_bf16", OTHER_TYPE):
        newest = desk.submit(convert(backend_type=kind))
        desk.build(newest)

    told = _review(desk, desk.submit(convert(backend_type="deepseek_qwen2_14b_bf16")))

    assert told.nearest == newest


def test_what_was_compared_with_stays_the_same_when_nearer_builds_come_later(desk: Desk):
    earlier = desk.submit(convert())
    desk.build(earlier)
    build = desk.submit(convert(backend_type=OTHER_TYPE))
    twin = desk.submit(convert(backend_type=OTHER_TYPE), use_cache=False)
    desk.build(twin)

    assert _review(desk, build).nearest == earlier


def test_a_build_that_is_the_same_in_everything_was_not_stored_any_more(desk: Desk):
    earlier = desk.submit(convert())
    desk.build(earlier)
    forget(desk.store, _output(desk, earlier))

    told = _review(desk, desk.submit(convert()))

    assert (told.nearest, told.changed) == (earlier, [])
    assert told.queued_because == "cache missed: the stored result is gone"


def test_a_result_from_the_cache_was_compared_with_nothing(desk: Desk):
    earlier = desk.submit(convert())
    desk.build(earlier)

    told = _review(desk, desk.submit(convert()))

    assert (told.job.cached_from, told.tries, told.nearest, told.queued_because) == (earlier, [], None, None)


def test_an_artifact_that_was_handed_in_was_made_by_no_job(desk: Desk):
    spec = {"kind": "compile", "c_source": desk.stored("c_source", b"one")}
    earlier = desk.submit(spec)
    desk.build(earlier)

    (changed,) = _review(desk, desk.submit({**spec, "c_source": desk.stored("c_source", b"two")})).changed

    assert (changed.part, changed.before_from, changed.after_from) == ("input c_source", None, None)
    with desk.database.read() as session:
        assert session.get_one(Job, earlier).cache_parts["input c_source"] == changed.before
