"""What a run's setting says, on both databases."""

from datetime import timedelta

import pytest
from builders.results import KCORE, PROMPTS, a_run
from builders.rows import A_MOMENT, a_job_row, a_model, a_release, a_slot_row, an_artifact, an_attempt

from orchestrator.comparisons.runs import Run, read_runs
from orchestrator.model.states import AttemptState, JobState, Until
from orchestrator.storage.tables import Doubt, Endpoint, Job, JobInput, JobNeed

SERVE = {"kind": "serve", "model": "qwen", "kcore": {"digest": KCORE}, "gpu_blocks": 256}
OTHER_KCORE = "sha256:" + "e" * 64


@pytest.fixture
def session(database):
    with database.write() as session:
        a_release(session)
        a_release(session, "r2", digest="sha256:" + "2" * 64, is_default=False)
        a_model(session)
        a_slot_row(session, "lab1.g0")
        yield session


def one(session, job_id: int) -> Run:
    (run,) = read_runs(session, [job_id])
    return run


def a_build(session, *, release: str = "r2", digest: str = KCORE, by_job: bool = True) -> int:
    """A converted and compiled kernel image; the number of the job that compiled it."""
    convert = {"kind": "convert", "model": "qwen", "backend_type": "qwen2_7b_bf16"}
    converted = a_job_row(session, request={"spec": convert}, release=release, state=JobState.SUCCEEDED)
    source = {"job": converted.id, "artifact": "c_source"} if by_job else {"digest": "sha256:" + "5" * 64}
    an_artifact(session, name="c_source", digest="sha256:" + "5" * 64, job_id=converted.id)
    compiled = a_job_row(
        session, request={"spec": {"kind": "compile", "c_source": source}}, release=release, state=JobState.SUCCEEDED
    )
    named = {"from_job_id": converted.id} if by_job else {}
    session.add(JobInput(job_id=compiled.id, name="c_source", digest="sha256:" + "5" * 64, **named))
    an_artifact(session, name="kcore", digest=digest, job_id=compiled.id)
    return compiled.id


def a_client(session, server: Job, *, began=A_MOMENT, **spec) -> int:
    """A client that asked a server."""
    asked = {"kind": "client", "endpoint": {"job": server.id, "artifact": "endpoint"}, **spec}
    asked["prompts"] = {"digest": PROMPTS}
    job = a_job_row(session, request={"spec": asked}, state=JobState.SUCCEEDED)
    session.add(JobInput(job_id=job.id, name="prompts", digest=PROMPTS))
    session.add(JobNeed(job_id=job.id, needs_id=server.id, until=Until.READY))
    an_attempt(session, job, slot_id="lab1.cpu0", state=AttemptState.SUCCEEDED, started_at=began)
    session.flush()
    return job.id


def a_server(session, **facts) -> Job:
    job = a_job_row(session, request={"spec": {**SERVE, **facts.pop("spec", {})}}, state=JobState.RUNNING, **facts)
    session.add(JobInput(job_id=job.id, name="kcore", digest=facts.get("kcore", KCORE)))
    session.flush()
    return job


def a_life(session, server: Job, slot: str, *, ready=A_MOMENT, closed=None, number: int = 1) -> int:
    """One attempt at a server that was ready."""
    a_slot_row(session, slot)
    attempt = an_attempt(session, server, slot_id=slot, number=number)
    session.add(
        Endpoint(
            attempt_id=attempt.id, job_id=server.id, model="qwen", served_id="/m", url="http://x:1", groups=1,
            ready_at=ready, closed_at=closed,
        )
    )  # fmt: skip
    session.flush()
    return attempt.id


def test_an_inference_is_set_as_its_spec_files_model_and_release_say(session):
    setting = one(session, a_run(session, spec={"max_tokens": 7})).setting

    assert (setting["kind"], setting["max_tokens"], setting["slots"]) == ("infer", 7, ["lab1.g0"])
    assert (setting["kcore"], setting["prompts"]) == (KCORE, PROMPTS)
    assert setting["model"] == setting["release"] == "sha256:" + "a" * 64
    assert setting["toolchain"] is None


@pytest.mark.parametrize("by_job", [True, False])
def test_the_toolchain_is_that_of_the_job_that_compiled_the_kernel_image(session, by_job):
    a_build(session, by_job=by_job)

    setting = one(session, a_run(session)).setting

    assert setting["toolchain"] == "sha256:" + "2" * 64
    assert (setting["backend_type"], setting["precision"]) == ("qwen2_7b_bf16", "bf16")
    assert setting["release"] == "sha256:" + "a" * 64


def test_the_job_that_an_input_names_is_its_maker_whoever_made_the_same_bytes_first(session):
    a_build(session, release="r1")
    second = a_build(session, release="r2")

    setting = one(session, a_run(session, inputs={"kcore": {"digest": KCORE, "from_job_id": second}})).setting

    assert setting["toolchain"] == "sha256:" + "2" * 64


def test_an_imported_kernel_image_tells_its_precision_and_no_toolchain(session):
    an_artifact(session, name="kcore", digest=KCORE, facts={"precision": "quant", "chips": 4, "model": "qwen"})

    setting = one(session, a_run(session)).setting

    assert (setting["precision"], setting["toolchain"]) == ("quant", None)


def test_cards_of_a_group_are_a_place_and_the_single_card_is_not(session):
    group = one(session, a_run(session, spec={"cards": "0..3"})).setting
    single = one(session, a_run(session, spec={"cards": "0"})).setting

    assert "cards" not in group
    assert single["cards"] == "0"


def test_a_client_is_set_as_the_server_that_it_asked(session):
    a_build(session)
    server = a_server(session, release="r2")
    a_life(session, server, "lab1.g3")

    setting = one(session, a_client(session, server)).setting

    assert (setting["kind"], setting["kcore"], setting["prompts"]) == ("client", KCORE, PROMPTS)
    assert setting["model"] == "sha256:" + "a" * 64
    assert setting["release"] == setting["toolchain"] == "sha256:" + "2" * 64
    assert setting["server"]["gpu_blocks"] == 256
    assert setting["server_slots"] == ["lab1.g3"]
    assert "endpoint" not in setting
    assert "client_release" not in setting


def test_the_vendors_client_is_part_of_a_release_too(session):
    server = a_server(session, release="r2")
    a_life(session, server, "lab1.g3")

    setting = one(session, a_client(session, server, program="chat")).setting

    assert setting["client_release"] == "sha256:" + "a" * 64


def test_a_client_used_the_life_of_the_server_that_was_ready_when_it_began(session):
    server = a_server(session)
    hour = timedelta(hours=1)
    a_life(session, server, "lab1.g1", ready=A_MOMENT - hour, closed=A_MOMENT + hour)
    a_life(session, server, "lab1.g2", ready=A_MOMENT + 2 * hour, number=2)

    early, late = a_client(session, server), a_client(session, server, began=A_MOMENT + 3 * hour)

    assert one(session, early).setting["server_slots"] == ["lab1.g1"]
    assert one(session, late).setting["server_slots"] == ["lab1.g2"]


def test_doubt_about_the_cards_of_a_server_is_doubt_about_its_clients(session):
    server = a_server(session)
    life = a_life(session, server, "lab1.g1")
    client = a_client(session, server)
    session.add(Doubt(attempt_id=life, slot_id="lab1.g1", reason="canary_failed", evidence={}, at=A_MOMENT))
    session.flush()

    run = one(session, client)

    assert (run.doubt, run.used) == ("canary_failed", False)
