"""Reference answers that were made elsewhere."""

import json

import pytest
from builders.desk import Desk
from builders.lifecycle import LEASE, TOOL, a_slot
from pydantic import ValidationError
from sqlalchemy import select

from orchestrator.catalog.golden_imports import GoldenImport, GoldenImports
from orchestrator.dispatcher.turn import take_turn
from orchestrator.errors import NotFound, OrchestratorError
from orchestrator.model.slots import GOLDEN_LABEL, SlotKind
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Answer, Attempt


def take_in(desk: Desk, **request):
    return GoldenImports(desk.settings, desk.database, desk.store).take_in(GoldenImport.model_validate(request))


def pairs_in(desk: Desk, digest: str) -> list[tuple[str, str]]:
    lines = desk.store.path(digest).read_text("utf-8").splitlines()
    return [(row["question"], row["answer"]) for row in map(json.loads, lines)]


def test_what_is_taken_in_can_be_the_golden_of_a_job(desk):
    prompts, answers = desk.file(content="一\n二\n".encode()), desk.file("answers.txt", b"1\n2\n")

    made = take_in(desk, path=answers["path"], prompts=prompts, model="qwen")

    assert pairs_in(desk, made.digest) == [("一", "1"), ("二", "2")]
    assert made.facts == {"model": "qwen", "answers": 2, "source": "answers.txt"}
    assert desk.submit(desk.infer(prompts=prompts, golden={"digest": made.digest}))


def test_the_prompts_may_be_an_artifact_that_a_job_has_used(desk):
    prompts, answers = desk.stored("prompts", "一\n".encode()), desk.file("answers.txt", b"1")

    assert pairs_in(desk, take_in(desk, path=answers["path"], prompts=prompts).digest) == [("一", "1")]


def an_inference(desk: Desk, *answers: Answer) -> int:
    job = desk.submit(desk.infer())
    desk.end(job)
    with desk.database.write() as session:
        attempt = session.scalars(select(Attempt.id).where(Attempt.job_id == job)).one()
        for answer in answers:
            answer.attempt_id = attempt
            session.add(answer)
    return job


def test_what_a_job_has_answered_first_can_be_the_golden_of_others(desk):
    rows = [Answer(repeat=repeat, index=0, batch=0, question="q", text=f"r{repeat}") for repeat in (1, 2)]
    job = an_inference(desk, *rows, Answer(repeat=1, index=0, batch=1, question="q", text="other group"))

    made = take_in(desk, job=job)

    assert pairs_in(desk, made.digest) == [("q", "r1")]
    assert made.facts == {"model": "qwen", "answers": 1, "source": f"job-{job}"}


def test_a_job_that_answered_nothing_gives_no_golden(desk):
    failed = desk.submit(desk.infer())
    desk.end(failed, TOOL)

    with pytest.raises(OrchestratorError, match=f"job {failed} has no answers: it is infer, and failed"):
        take_in(desk, job=failed)
    with pytest.raises(NotFound):
        take_in(desk, job=failed + 1)


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "holds no answer"),
        (b"a\0", "NUL"),
        ("巴黎".encode("gbk"), "not UTF-8"),
        (b"1\n2", "line 2 is one too many"),
    ],
)
def test_a_file_that_does_not_fit_its_prompts_is_refused_and_leaves_nothing(desk, content, told):
    prompts, answers = desk.file(content=b"one"), desk.file("answers.txt", content)

    with pytest.raises(OrchestratorError) as refusal:
        take_in(desk, path=answers["path"], prompts=prompts)

    assert told in refusal.value.detail
    assert refusal.value.field == "path"


@pytest.mark.parametrize(
    ("request_", "field"),
    [
        ({"path": "/etc/passwd", "prompts": {"path": "/etc/passwd"}}, "path"),
        ({"prompts": {"path": "/etc/passwd"}}, "prompts.path"),
        ({"prompts": {"digest": f"sha256:{'0' * 64}"}}, "prompts.digest"),
        ({"model": "gone"}, "model"),
    ],
)
def test_what_cannot_be_had_is_named(desk, request_, field):
    files = {"prompts": desk.file(content=b"one"), "path": desk.file("answers.txt", b"1")["path"]}

    with pytest.raises(OrchestratorError) as refusal:
        take_in(desk, **{**files, **request_})

    assert refusal.value.field == field


@pytest.mark.parametrize(
    "request_", [{}, {"path": "/a"}, {"job": 1, "prompts": {"path": "/a"}}, {"path": "/a", "job": 1}]
)
def test_a_file_has_prompts_and_a_job_has_its_own(request_):
    with pytest.raises(ValidationError):
        GoldenImport.model_validate(request_)


def test_a_golden_job_makes_what_an_inference_of_its_pipeline_compares_with(desk):
    prompts = desk.file()
    golden = {"kind": "golden", "model": "qwen", "prompts": prompts}
    compared = desk.infer(prompts=prompts, golden={"job": "reference", "artifact": "golden"})

    reference, inference = desk.pipeline({"reference": golden, "infer": compared})

    assert desk.job(reference).slot_kind is SlotKind.CPU
    assert desk.job(reference).run_seconds == 86_400
    assert desk.states(reference, inference) == [JobState.QUEUED, JobState.WAITING]
    with pytest.raises(OrchestratorError, match="golden takes an artifact called golden"):
        desk.submit(desk.infer(golden={"job": reference, "artifact": "answers"}))


def test_a_golden_job_is_refused_where_no_seat_has_what_it_needs_unless_it_is_to_wait(desk):
    golden = {"kind": "golden", "model": "qwen", "prompts": desk.file()}
    with desk.database.write() as session:
        a_slot(session, "cpu0", labels={"rack": "a"})

    with pytest.raises(OrchestratorError, match="TX81_GOLDEN_PYTHON") as refusal:
        desk.submit(golden)
    waiting = desk.submit(golden, placement={"wait_for_slot": True})
    with desk.database.write() as session:
        a_slot(session, "cpu1", labels=GOLDEN_LABEL)
    placed = desk.submit(golden, use_cache=False)

    assert refusal.value.field == "spec.kind"
    assert desk.states(waiting, placed) == [JobState.QUEUED, JobState.QUEUED]
    assert take_turn(desk.database, desk.store, lease=LEASE, lost_after=LEASE)[0].queue == "lab1.cpu1"
