"""Where waiting jobs go, on both databases."""

import pytest
from builders.databases import at_once, rows
from builders.desk import Desk, compile_of, convert, quantize
from builders.lifecycle import (
    CANCELLED,
    TOOL,
    a_job,
    a_running_attempt,
    a_waiting_job,
    events_of,
    finish,
    forget,
    needs,
    now,
)
from builders.rows import a_model
from sqlalchemy import select

from orchestrator.jobs import admission, lifecycle
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import FINAL, JobState
from orchestrator.storage.tables import Artifact, Job, JobInput, Model, Release

# ── needs ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_job_waits_until_all_it_needs_has_succeeded(desk: Desk):
    with desk.database.write() as session:
        job = a_waiting_job(session)
        first, second = a_job(session, JobState.SUCCEEDED), a_job(session, JobState.RUNNING)
        needs(session, job, first, second)

    desk.promote()
    waiting = desk.states(job.id)
    with desk.database.write() as session:
        finish(session, session.scalars(select(admission.Attempt).where(admission.Attempt.job_id == second.id)).one())
    desk.promote()

    assert waiting == [JobState.WAITING]
    assert desk.states(job.id) == [JobState.QUEUED]


@pytest.mark.parametrize("ended", sorted(FINAL - {JobState.SUCCEEDED}))
def test_a_job_is_skipped_as_soon_as_one_it_needs_has_not_succeeded(desk: Desk, ended: JobState):
    with desk.database.write() as session:
        job = a_waiting_job(session)
        broken = a_job(session, ended)
        needs(session, job, broken, a_job(session, JobState.RUNNING))

    desk.promote()

    skipped = desk.job(job.id)
    assert skipped.state is JobState.SKIPPED
    told = "failed" if ended is JobState.FAILED else f"was {ended}"
    assert skipped.failure["reason"] == f"it needs job {broken.id} (infer), which {told}"


def test_a_failure_skips_a_long_chain_at_once(desk: Desk):
    with desk.database.write() as session:
        chain = [a_job(session, JobState.FAILED)]
        for _ in range(15):
            chain.append(a_waiting_job(session))
            needs(session, chain[-1], chain[-2])

    desk.promote()

    assert set(desk.states(*[job.id for job in chain[1:]])) == {JobState.SKIPPED}


def test_admitting_a_job_that_does_not_wait_any_more_changes_nothing(desk: Desk):
    with desk.database.write() as session:
        job = a_job(session, JobState.CANCELLED)
    before = rows(desk.database)

    with desk.database.write() as session:
        admission.admit(session, job.id, desk.store, now=now())
        admission.admit(session, 4711, desk.store, now=now())

    assert rows(desk.database) == before


def test_an_input_gets_the_digest_of_what_the_other_job_made(desk: Desk):
    source, compiled = desk.pipeline({"convert": convert(), "compile": compile_of("convert")})

    desk.build(source, b"int main;")
    desk.promote()

    with desk.database.read() as session:
        made = session.scalars(select(Artifact.digest).where(Artifact.job_id == source)).one()
        assert session.get_one(JobInput, (compiled, "c_source")).digest == made
    assert desk.states(compiled) == [JobState.QUEUED]


def test_a_job_whose_input_is_missing_although_its_maker_succeeded_fails_alone(desk: Desk):
    source, compiled = desk.pipeline({"convert": convert(), "compile": compile_of("convert")})
    desk.end(source)
    innocent = desk.submit(quantize(), use_cache=False)

    desk.promote()

    assert desk.job(compiled).failure["kind"] == FailureKind.OUTPUT_MISSING
    assert desk.states(innocent) == [JobState.QUEUED]


# ── the cache ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_identical_build_succeeds_at_once_and_says_from_which_job(desk: Desk):
    source = desk.submit(convert())
    desk.build(source, b"c source")

    again = desk.submit(convert(), priority=9, project="other")

    job = desk.job(again)
    assert (job.state, job.cached_from) == (JobState.SUCCEEDED, source)
    assert desk.why(again) == f"identical to job {source}"
    with desk.database.read() as session:
        digests = session.scalars(select(Artifact.digest).where(Artifact.name == "c_source")).all()
        assert len(digests) == 2
        assert len(set(digests)) == 1
        assert session.query(admission.Attempt).where(admission.Attempt.job_id == again).count() == 0


def test_a_hit_names_the_job_that_was_built_and_not_another_hit(desk: Desk):
    source = desk.submit(convert())
    desk.build(source)

    hits = [desk.submit(convert()) for _ in range(3)]

    assert {desk.job(hit).cached_from for hit in hits} == {source}


def test_a_pipeline_whose_builds_are_all_known_succeeds_at_once(desk: Desk):
    specs = {"convert": convert(), "compile": compile_of("convert")}
    source, compiled = desk.pipeline(specs)
    desk.build(source)
    desk.promote()
    desk.build(compiled)

    again = desk.pipeline(specs)

    assert desk.states(*again) == [JobState.SUCCEEDED, JobState.SUCCEEDED]


def test_a_hit_whose_stored_file_is_gone_is_a_miss_that_says_so(desk: Desk):
    source = desk.submit(convert())
    desk.build(source)
    with desk.database.read() as session:
        forget(desk.store, session.scalars(select(Artifact.digest).where(Artifact.job_id == source)).one())

    again = desk.submit(convert())

    assert desk.states(again) == [JobState.QUEUED]
    assert desk.why(again) == "cache missed: the stored result is gone"


def test_a_pruned_log_does_not_make_a_build_worthless(desk: Desk):
    source = desk.submit(convert())
    desk.build(source)
    log = desk.store.put_bytes(b"the log")
    with desk.database.write() as session:
        attempt = session.scalars(select(admission.Attempt)).one()
        lifecycle.add_outputs(
            session,
            attempt.id,
            [{"name": "log", "digest": log.digest, "tree": False, "file_name": "log", "size": 7}],
            now=now(),
        )
    forget(desk.store, log.digest)

    again = desk.submit(convert())

    assert desk.states(again) == [JobState.SUCCEEDED]
    with desk.database.read() as session:
        assert session.scalars(select(Artifact.name).where(Artifact.job_id == again)).all() == ["c_source"]


def test_what_a_failed_attempt_left_is_not_taken_from_the_cache(desk: Desk):
    source = desk.submit(convert(), tool_retries=1)
    with desk.database.write() as session:
        broken = a_running_attempt(session, session.get_one(Job, source))
        finish(session, broken, TOOL)
        half = desk.store.put_bytes(b"half of it")
        lifecycle.add_outputs(
            session,
            broken.id,
            [{"name": "c_source", "digest": half.digest, "tree": False, "file_name": "c", "size": 1}],
            now=now(),
        )
    desk.build(source, b"all of it")

    again = desk.submit(convert())

    with desk.database.read() as session:
        taken = session.scalars(select(Artifact).where(Artifact.job_id == again)).all()
        assert [desk.store.path(artifact.digest).read_bytes() for artifact in taken] == [b"all of it"]


def test_a_build_that_does_not_want_the_cache_runs_and_says_so(desk: Desk):
    desk.build(desk.submit(convert()))

    again = desk.submit(convert(), use_cache=False)

    assert desk.states(again) == [JobState.QUEUED]
    assert desk.why(again) == "cache missed: the request says use_cache: false"


def test_the_first_build_of_a_kind_says_that_there_was_none(desk: Desk):
    desk.build(desk.submit(quantize()))

    assert desk.why(desk.submit(convert())) == "cache missed: no earlier build of this kind has succeeded"


@pytest.mark.parametrize("changed", ["parameter", "weights", "config", "release"])
def test_a_miss_names_what_changed_since_the_nearest_build(desk: Desk, changed: str):
    desk.build(desk.submit(convert(backend_type="deepseek_qwen2_14b_bf16")))
    desk.build(desk.submit(convert()))
    spec, name = convert(), "input model: "
    with desk.database.write() as session:
        match changed:
            case "parameter":
                spec = convert(backend_type="deepseek_qwen2_7b_bf16")
                name = "parameter backend_type: deepseek_qwen2_14b_bf16 → deepseek_qwen2_7b_bf16"
            case "weights":
                session.get_one(Model, "qwen").digest = f"sha256:{'d' * 64}"
            case "config":
                session.get_one(Model, "qwen").official_config = {"model_type": "qwen2", "rope_theta": 1}
            case "release":
                session.get_one(Release, "r1").digest = f"sha256:{'d' * 64}"
                name = "release: sha256:aaaaaaaaaaaa… → sha256:dddddddddddd…"

    missed = desk.submit(spec)

    if changed == "parameter":
        # Both earlier builds differ in as much; the later one is named.
        name = "parameter backend_type: qwen2_7b_bf16 → deepseek_qwen2_7b_bf16"
    assert desk.states(missed) == [JobState.QUEUED]
    assert desk.why(missed).startswith(f"cache missed: {name}")
    assert ";" not in desk.why(missed)


def test_the_config_for_inference_does_not_change_a_build(desk: Desk):
    desk.build(desk.submit(convert()))
    with desk.database.write() as session:
        session.get_one(Model, "qwen").tx81_config = {"model_type": "qwen2", "param_dir": "elsewhere"}

    assert desk.states(desk.submit(convert())) == [JobState.SUCCEEDED]


def test_the_same_weights_under_another_name_are_the_same_build(desk: Desk):
    desk.build(desk.submit(convert()))
    with desk.database.write() as session:
        a_model(session, "twin")

    assert desk.states(desk.submit(convert(model="twin"))) == [JobState.SUCCEEDED]


def test_an_inference_is_never_taken_from_the_cache(desk: Desk):
    spec = desk.infer()
    desk.end(desk.submit(spec))

    again = desk.submit(spec)

    assert desk.states(again) == [JobState.QUEUED]
    assert desk.job(again).cache_key is None


# ── single flight ────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_identical_build_under_way_is_joined_and_its_result_shared(desk: Desk):
    leader = desk.submit(convert())
    followers = [desk.submit(convert()) for _ in range(2)]

    joined = [desk.job(follower).joined_to for follower in followers]
    desk.build(leader)
    desk.promote()

    assert joined == [leader, leader]
    assert desk.states(*followers) == [JobState.SUCCEEDED, JobState.SUCCEEDED]
    assert [desk.job(follower).cached_from for follower in followers] == [leader, leader]


def test_joining_is_a_change_of_the_job_that_its_readers_can_see(desk: Desk):
    desk.submit(convert())
    follower = desk.submit(convert())

    assert desk.job(follower).version > 1
    with desk.database.read() as session:
        assert events_of(session, follower) == ["job.created", "job.joined"]


@pytest.mark.parametrize("end", ["fails", "is cancelled", "is cancelled while it runs"])
def test_when_the_leader_is_gone_one_follower_takes_over_and_the_rest_join_it(desk: Desk, end: str):
    leader, *followers = [desk.submit(convert()) for _ in range(4)]

    match end:
        case "fails":
            desk.end(leader, TOOL)
        case "is cancelled":
            with desk.database.write() as session:
                lifecycle.cancel(session, leader, by=None, now=now())
        case _:
            desk.end(leader, CANCELLED)
    desk.promote()

    assert desk.states(*followers) == [JobState.QUEUED, JobState.WAITING, JobState.WAITING]
    assert [desk.job(follower).joined_to for follower in followers] == [None, followers[0], followers[0]]


def test_a_follower_can_be_cancelled_without_touching_the_leader(desk: Desk):
    leader, follower = desk.submit(convert()), desk.submit(convert())

    with desk.database.write() as session:
        lifecycle.cancel(session, follower, by=None, now=now())
    desk.promote()

    assert desk.states(leader, follower) == [JobState.QUEUED, JobState.CANCELLED]


def test_a_build_that_does_not_want_the_cache_joins_nobody(desk: Desk):
    desk.submit(convert())

    alone = desk.submit(convert(), use_cache=False)

    assert desk.states(alone) == [JobState.QUEUED]


def test_builds_that_become_identical_when_their_inputs_are_ready_fly_once(desk: Desk):
    (source, one), (joined, two) = (
        desk.pipeline({"convert": convert(), "compile": compile_of("convert")}) for _ in range(2)
    )

    desk.build(source)
    desk.promote()

    assert desk.states(joined) == [JobState.SUCCEEDED]
    assert desk.states(one, two) == [JobState.QUEUED, JobState.WAITING]
    assert desk.job(two).joined_to == one


def test_of_identical_builds_submitted_at_the_same_time_one_is_queued(desk: Desk):
    made = at_once(*[lambda: desk.submit(convert())] * 4)

    assert sorted(desk.states(*made)) == [JobState.QUEUED] + [JobState.WAITING] * 3


# ── what the dispatcher asks ─────────────────────────────────────────────────────────────────────────────────────────


def test_only_jobs_that_can_move_are_admissible_oldest_first(desk: Desk):
    with desk.database.write() as session:
        blocked = a_waiting_job(session)
        needs(session, blocked, a_job(session, JobState.RUNNING))
        free = [a_waiting_job(session).id for _ in range(3)]
    desk.submit(convert())
    desk.submit(convert())

    with desk.database.read() as session:
        assert admission.admissible(session, now=now()) == free
        assert admission.admissible(session, limit=2, now=now()) == free[:2]
