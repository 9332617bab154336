"""What is refused before a row is written, and what a submission leaves when it is not."""

import os
from functools import partial
from pathlib import Path

import pytest
from builders.databases import at_once, nothing_written, rows
from builders.desk import Desk, a_desk, compile_of, convert, quantize, request_of
from builders.lifecycle import TOOL, a_token
from builders.rows import PROFILE, a_model, a_release
from pydantic import ValidationError
from sqlalchemy import select

from orchestrator.errors import (
    BadSpec,
    IdempotencyMismatch,
    IllegalTransition,
    NotFound,
    OrchestratorError,
    PathRefused,
)
from orchestrator.model.specs import PipelineRequest
from orchestrator.model.states import JobState
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Job, JobInput, JobNeed, Pipeline, Release
from orchestrator.submission.idempotency import Idempotency

NOWHERE = f"sha256:{'e' * 64}"


@pytest.fixture
def bench(sqlite_url, store, tmp_path):
    """A desk on SQLite alone, for what is decided before SQL is asked to store anything."""
    database = Database(sqlite_url)
    desk = a_desk(database, store, tmp_path)
    with database.write() as session:
        a_model(session, "llama", family="llama")
        a_model(session, "plain", tx81_config=None)
        a_model(session, "tuned", official_config=None)
    yield desk
    database.close()


def _refused(desk: Desk, spec: dict, **facts) -> OrchestratorError:
    """What a request is refused with: alone, among others and in a pipeline, with nothing written each time."""
    request, good = request_of(spec, **facts), request_of(quantize(), release="r1")
    with nothing_written(desk.database):
        with pytest.raises(OrchestratorError) as alone:
            desk.submission.job(request)
        with pytest.raises(OrchestratorError) as among:
            desk.submission.jobs([good, request])
        with pytest.raises(OrchestratorError) as piped:
            desk.submission.pipeline(PipelineRequest(name="p", jobs={"good": good, "bad": request}))
    assert (among.value.field, piped.value.field) == (f"jobs.1.{alone.value.field}", f"jobs.bad.{alone.value.field}")
    return alone.value


# ── what is named must exist and fit ─────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    ("spec", "facts", "field", "says"),
    [
        (quantize(model="unknown"), {}, "spec.model", "not registered"),
        (quantize(), {"release": "unknown"}, "release", "not registered"),
        (convert(backend_type="qwen9_1t_bf16"), {}, "spec.backend_type", "knows no backend type"),
        (convert(backend_type="deepseek_llama3_8b_bf16"), {}, "spec.backend_type", "for llama models"),
        (convert(model="llama"), {}, "spec.backend_type", "for qwen2 models"),
        (convert(backend_type="qwen2_7b_quant"), {}, "spec.gm", "give gm"),
        (convert(gm={"digest": NOWHERE}), {}, "spec.gm", "omit gm"),
        (quantize(model="tuned"), {}, "spec.model", "official config.json"),
        (convert(model="tuned"), {}, "spec.model", "official config.json"),
        ({"kind": "compile", "c_source": {"digest": NOWHERE}}, {}, "spec.c_source", "no artifact"),
        (compile_of(4711), {}, "spec.c_source", "no job 4711"),
        (compile_of(0), {}, "spec.c_source", "no job 0"),
        (compile_of(-1), {}, "spec.c_source", "no job -1"),
        (compile_of(10**30), {}, "spec.c_source", "no job 1000"),
        (quantize(), {"needs": [4711]}, "needs", "no job 4711"),
        (quantize(), {"needs": [2**63]}, "needs", "no job 9223372036854775808"),
    ],
)
def test_a_request_that_does_not_fit_what_exists_is_refused(bench: Desk, spec, facts, field, says):
    refusal = _refused(bench, spec, **facts)

    assert isinstance(refusal, BadSpec)
    assert refusal.field == field
    assert says in refusal.detail


def test_inference_needs_the_config_with_param_dir(bench: Desk):
    refusal = _refused(bench, bench.infer(model="plain"))

    assert refusal.field == "spec.model"
    assert "TX81 config.json" in refusal.detail


def test_without_a_default_release_one_must_be_named(bench: Desk):
    with bench.database.write() as session:
        session.get_one(Release, "r1").is_default = False

    assert _refused(bench, quantize()).field == "release"
    assert bench.states(bench.submit(quantize(), release="r1")) == [JobState.QUEUED]


def test_a_release_that_can_not_do_this_kind_is_refused(bench: Desk):
    profile = PROFILE.model_dump(mode="json")
    del profile["kinds"]["quantize"]
    with bench.database.write() as session:
        a_release(session, "half", profile=profile, is_default=False)

    refusal = _refused(bench, quantize(), release="half")

    assert (refusal.code, refusal.field) == ("bad_spec", "release")


@pytest.mark.parametrize("name", ["kcore", "prompts"])
def test_a_stored_artifact_of_another_sort_is_refused(bench: Desk, name: str):
    refusal = _refused(bench, {"kind": "compile", "c_source": bench.stored(name)})

    assert refusal.field == "spec.c_source"
    assert f"that one is a {name}" in refusal.detail


def test_a_stored_artifact_whose_file_is_gone_is_refused(bench: Desk):
    stored = bench.stored("c_source")
    bench.store.path(stored["digest"]).unlink()

    assert _refused(bench, {"kind": "compile", "c_source": stored}).field == "spec.c_source"


def test_the_same_bytes_may_be_two_sorts_of_artifact(bench: Desk):
    bench.stored("prompts", b"same")

    made = bench.submit({"kind": "compile", "c_source": bench.stored("c_source", b"same")})

    assert bench.states(made) == [JobState.QUEUED]


@pytest.mark.parametrize("artifact", ["c_source", "gm"])
def test_a_job_that_makes_another_artifact_is_refused_as_input(bench: Desk, artifact: str):
    source = bench.submit(quantize())

    refusal = _refused(bench, {"kind": "compile", "c_source": {"job": source, "artifact": artifact}})

    assert refusal.field == "spec.c_source"
    assert "which makes gm" in refusal.detail


@pytest.mark.parametrize("how", ["input", "need"])
def test_a_job_that_has_failed_can_not_be_needed(bench: Desk, how: str):
    source = bench.submit(convert())
    bench.end(source, TOOL)

    refusal = _refused(bench, compile_of(source)) if how == "input" else _refused(bench, quantize(), needs=[source])

    assert f"job {source} has failed" in refusal.detail


def test_a_job_that_still_runs_or_has_succeeded_can_be_used_by_number(bench: Desk):
    source = bench.submit(convert())
    early = bench.submit(compile_of(source))
    bench.build(source)

    late = bench.submit(compile_of(source))

    assert bench.states(early, late) == [JobState.WAITING, JobState.QUEUED]


def test_more_excluded_slots_than_a_demand_can_hold_are_refused(desk: Desk):
    exclude = [f"a-host-with-a-long-name-{number}.cpu0" for number in range(40)]

    with nothing_written(desk.database), pytest.raises(BadSpec) as refusal:
        desk.submit(quantize(), placement={"exclude": exclude})

    assert refusal.value.field == "placement.exclude"


# ── pipelines ────────────────────────────────────────────────────────────────────────────────────────────────────────


def _pipeline_refused(desk: Desk, jobs: dict) -> BadSpec:
    request = PipelineRequest.model_validate({"name": "p", "jobs": jobs})
    with nothing_written(desk.database), pytest.raises(BadSpec) as refusal:
        desk.submission.pipeline(request)
    return refusal.value


@pytest.mark.parametrize(
    ("jobs", "field"),
    [
        ({"a": {"spec": compile_of("ghost")}}, "jobs.a.spec.c_source"),
        ({"a": {"spec": quantize()}, "b": {"spec": quantize(), "needs": ["a", "ghost"]}}, "jobs.b.needs.1"),
        ({"a": {"spec": quantize(), "needs": ["a"]}}, "jobs.a.needs"),
    ],
    ids=["unknown input", "unknown need", "needs itself"],
)
def test_a_pipeline_with_a_reference_to_nothing_is_refused(bench: Desk, jobs, field):
    assert _pipeline_refused(bench, jobs).field == field


def test_a_circle_is_shown_in_the_order_of_needs(bench: Desk):
    jobs = {name: {"spec": quantize(), "needs": [need]} for name, need in (("a", "b"), ("b", "c"), ("c", "a"))}

    detail = _pipeline_refused(bench, jobs).detail

    assert any(circle in detail for circle in ("a → b → c → a", "b → c → a → b", "c → a → b → c"))


def test_a_name_means_nothing_outside_a_pipeline(bench: Desk):
    with nothing_written(bench.database), pytest.raises(BadSpec) as refusal:
        bench.submit(compile_of("convert"))

    assert "name a job of the same pipeline" in refusal.value.detail


def test_a_pipeline_is_wired_whatever_the_order_of_its_jobs(desk: Desk):
    request = {
        "name": "七步", "project": "nightly",
        "jobs": {
            "last": {"spec": desk.infer(kcore={"job": "middle", "artifact": "kcore"}), "needs": ["first"]},
            "middle": {"spec": compile_of("first")},
            "first": {"spec": convert()},
        },
    }  # fmt: skip
    with pytest.raises(ValidationError):
        PipelineRequest.model_validate(request)

    made = desk.submission.pipeline(PipelineRequest.model_validate({**request, "name": "seven"}))

    with desk.database.read() as session:
        jobs = {job.name: job for job in session.scalars(select(Job))}
        assert set(made.jobs) == {job.id for job in jobs.values()}
        assert {job.project for job in jobs.values()} == {"nightly"}
        assert session.get_one(Pipeline, made.pipeline).name == "seven"
        first, middle, last = (jobs[name].id for name in ("first", "middle", "last"))
        edges = {(need.job_id, need.needs_id) for need in session.scalars(select(JobNeed))}
        assert edges == {(middle, first), (last, middle), (last, first)}
        assert session.get_one(JobInput, (last, "kcore")).from_job_id == middle


# ── files ────────────────────────────────────────────────────────────────────────────────────────────────────────────


@pytest.mark.parametrize(
    "path", ["/etc/passwd", "/", "/nonexistent", "/etc/../etc/passwd", "/dev/zero", "/" + "x" * 300]
)
def test_a_file_outside_the_roots_is_refused(bench: Desk, path: str):
    refusal = _refused(bench, bench.infer(prompts={"path": path}))

    assert isinstance(refusal, PathRefused)
    assert refusal.field == "spec.prompts.path"


def test_dots_are_refused_even_if_they_stay_inside(bench: Desk):
    bench.file("prompts.txt")
    (bench.files / "sub").mkdir()

    refusal = _refused(bench, bench.infer(prompts={"path": f"{bench.files}/sub/../prompts.txt"}))

    assert "'..'" in refusal.detail


@pytest.mark.parametrize("where", ["file", "parent"])
def test_a_link_that_leaves_the_roots_is_refused(bench: Desk, tmp_path: Path, where: str):
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("secret\n")
    if where == "file":
        (bench.files / "link.txt").symlink_to(outside / "secret.txt")
        path = bench.files / "link.txt"
    else:
        (bench.files / "link").symlink_to(outside)
        path = bench.files / "link" / "secret.txt"

    assert isinstance(_refused(bench, bench.infer(prompts={"path": str(path)})), PathRefused)


def test_a_link_that_stays_inside_the_roots_is_followed(bench: Desk):
    bench.file("real.txt")
    (bench.files / "link.txt").symlink_to(bench.files / "real.txt")

    made = bench.submit(bench.infer(prompts={"path": str(bench.files / "link.txt")}))

    assert bench.states(made) == [JobState.QUEUED]


@pytest.mark.parametrize("what", ["folder", "pipe", "loop", "dangling link"])
def test_what_is_no_file_is_refused_and_not_waited_for(bench: Desk, what: str):
    place = bench.files / "thing"
    match what:
        case "folder":
            place.mkdir()
        case "pipe":
            os.mkfifo(place)
        case "loop":
            place.symlink_to(place)
        case "dangling link":
            place.symlink_to(bench.files / "gone")

    assert isinstance(_refused(bench, bench.infer(prompts={"path": str(place)})), PathRefused)


@pytest.mark.parametrize("name", ["../c_source", "-rf", "c source"])
def test_an_artifact_name_that_could_be_a_path_or_a_flag_is_refused(name: str):
    with pytest.raises(ValidationError):
        request_of({"kind": "compile", "c_source": {"job": 1, "artifact": name}})


def test_a_file_is_kept_as_it_was_when_it_was_submitted(desk: Desk):
    spec = desk.infer(prompts=desk.file("prompts.txt", b"before\n"))
    made = desk.submit(spec)
    desk.file("prompts.txt", b"after\n")

    with desk.database.read() as session:
        taken = session.get_one(JobInput, (made, "prompts"))
    assert desk.store.path(taken.digest).read_bytes() == b"before\n"
    assert taken.file_name == "prompts.txt"


# ── idempotency ──────────────────────────────────────────────────────────────────────────────────────────────────────


def _key(desk: Desk, fingerprint: str = "f" * 64) -> Idempotency:
    with desk.database.write() as session:
        return Idempotency(a_token(session).id, "key-1", fingerprint)


def test_a_request_sent_again_with_its_key_makes_nothing_new(desk: Desk):
    key = _key(desk)
    pipeline = PipelineRequest.model_validate({"name": "p", "jobs": {"a": {"spec": quantize()}}})
    first = desk.submission.pipeline(pipeline, key)

    with nothing_written(desk.database):
        again = desk.submission.pipeline(pipeline, key)

    assert (again.jobs, again.pipeline, again.replayed) == (first.jobs, first.pipeline, True)
    assert not first.replayed


def test_a_request_sent_again_is_answered_although_its_files_are_gone(desk: Desk):
    key, request = _key(desk), request_of(desk.infer())
    first = desk.submission.job(request, key)
    (desk.files / "prompts.txt").unlink()

    assert desk.submission.job(request, key).jobs == first.jobs


def test_a_key_used_for_another_request_is_refused(desk: Desk):
    key = _key(desk)
    desk.submission.job(request_of(quantize()), key)

    other = Idempotency(key.token_id, key.key, "0" * 64)
    with nothing_written(desk.database), pytest.raises(IdempotencyMismatch):
        desk.submission.job(request_of(convert()), other)


def test_a_key_of_a_refused_request_can_be_used_again(desk: Desk):
    key = _key(desk)
    with pytest.raises(BadSpec):
        desk.submission.job(request_of(quantize(model="unknown")), key)

    assert not desk.submission.job(request_of(quantize()), key).replayed


def test_one_key_sent_many_times_at_once_makes_one_set_of_jobs(desk: Desk):
    key = _key(desk)
    requests = [request_of(quantize()), request_of(convert())]

    made = at_once(*[partial(desk.submission.jobs, requests, key)] * 4)

    assert len({each.jobs for each in made}) == 1
    assert sum(not each.replayed for each in made) == 1
    assert rows(desk.database)["job"] == 2


# ── retry ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_retry_is_a_new_job_with_the_files_and_names_of_the_old(desk: Desk):
    request = {"name": "p", "project": "nightly", "jobs": {"ask": {"spec": desk.infer(), "priority": 8}}}
    (old,) = desk.submission.pipeline(PipelineRequest.model_validate(request)).jobs
    desk.end(old, TOOL)
    desk.file("prompts.txt", b"changed meanwhile\n")

    (new,) = desk.submission.retry(old).jobs

    job = desk.job(new)
    assert (job.state, job.name, job.project, job.priority) == (JobState.QUEUED, "ask", "nightly", 8)
    with desk.database.read() as session:
        inputs = [session.get_one(JobInput, (number, "prompts")) for number in (old, new)]
    assert inputs[0].digest == inputs[1].digest


def test_a_retry_uses_what_the_siblings_of_its_old_pipeline_made(desk: Desk):
    source, compiled = desk.pipeline({"convert": convert(), "compile": compile_of("convert")})
    desk.build(source)
    desk.promote()
    desk.end(compiled, TOOL)

    (new,) = desk.submission.retry(compiled).jobs

    with desk.database.read() as session:
        assert session.get_one(JobInput, (new, "c_source")).from_job_id == source
    assert desk.states(new) == [JobState.QUEUED]


def test_a_retry_can_be_retried(desk: Desk):
    job = desk.submit(desk.infer())
    for _ in range(2):
        desk.end(job, TOOL)
        (job,) = desk.submission.retry(job).jobs

    assert desk.states(job) == [JobState.QUEUED]


def test_only_a_job_that_ended_can_be_retried(desk: Desk):
    made = desk.submit(quantize())

    with nothing_written(desk.database):
        with pytest.raises(IllegalTransition):
            desk.submission.retry(made)
        with pytest.raises(NotFound):
            desk.submission.retry(4711)


def test_a_server_elsewhere_is_asked_only_if_the_settings_list_it(bench: Desk):
    spec = {"kind": "client", "endpoint": {"url": "http://lab2:8000"}, "prompts": {"lines": ["2+2?"]}}

    refused = _refused(bench, spec)

    assert refused.field == "spec.endpoint"
    assert "lab2:8000 is not in TX81_ENDPOINT_HOSTS" in refused.detail
