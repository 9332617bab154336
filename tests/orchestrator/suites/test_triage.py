"""The small cross of a job: which runs are ordered, what is refused, and the verdict from their results."""

from collections.abc import Sequence

import pytest
from builders.databases import both_databases
from builders.desk import Desk
from builders.lifecycle import FAULT, TOOL, a_running_attempt, a_slot, finish, now
from sqlalchemy import select

from orchestrator.errors import BadRequest, IllegalTransition, NotFound
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import JobState, ServiceState
from orchestrator.results.answers import GivenAnswer, digest_of
from orchestrator.results.triage import Cause, CrossOutcome
from orchestrator.storage.tables import Answer, Doubt, Event, Job, JobInput, Slot
from orchestrator.submission.idempotency import Idempotency
from orchestrator.suites import triage
from orchestrator.suites.triage import TriageFacts, Triages
from orchestrator.tokens import make

GOOD = ["Beijing", "four"]
BAD = ["Beijing", "five"]


@pytest.fixture
def triages(desk: Desk) -> Triages:
    with desk.database.write() as session:
        for name in ("g0", "g3"):
            a_slot(session, name)
    return Triages(desk.settings, desk.database, desk.store)


def ended(
    desk: Desk, job_id: int, texts: Sequence[str] = (), *, slot: str = "lab1.g3", golden: bool = True,
    failure: Failure | None = None,
) -> int:  # fmt: skip
    """Run a queued job on a slot to its end, with these answers."""
    with desk.database.write() as session:
        attempt = a_running_attempt(session, session.get_one(Job, job_id), session.get_one(Slot, slot))
        for index, text in enumerate(texts):
            told = {"golden": GOOD[index], "exact": text == GOOD[index]} if golden else {}
            session.add(Answer(attempt_id=attempt.id, repeat=0, index=index, question=f"q{index}", text=text, **told))
        finish(session, attempt, failure, max_attempts=1)
        if texts:
            attempt.answers_digest = digest_of(GivenAnswer(0, i, f"q{i}", text) for i, text in enumerate(texts))
    return job_id


def inference(desk: Desk, kcore: bytes, **facts) -> int:
    return desk.submit(desk.infer(kcore=desk.stored("kcore", kcore), **facts))


def started(desk: Desk, triages: Triages, job: int, repeats: int = 2) -> TriageFacts:
    number, _ = triages.start(job, repeats=repeats, by="ada")
    return shown(desk, number)


def shown(desk: Desk, number: int) -> TriageFacts:
    with desk.database.read() as session:
        return triage.show(session, number)


def run_cross(desk: Desk, facts: TriageFacts, elsewhere: Sequence[str], here: Sequence[str], *, golden=True):
    for cell, texts, slot in zip(facts.cells, (elsewhere, here), ("lab1.g0", "lab1.g3"), strict=True):
        for run in cell.runs:
            ended(desk, run.job_id, texts, slot=slot, golden=golden)
    return shown(desk, facts.row.id)


@pytest.fixture
def bad(desk: Desk, triages: Triages) -> int:
    """A job with a wrong answer on g3; the kernel image before it was right."""
    ended(desk, inference(desk, b"good"), GOOD, slot="lab1.g0")
    return ended(desk, inference(desk, b"new"), BAD)


@both_databases
def test_the_cross_is_a_batch_of_ordinary_jobs_with_the_same_inputs(desk, triages, bad):
    facts = started(desk, triages, bad)

    elsewhere, here = facts.cells
    assert (len(elsewhere.runs), len(here.runs), facts.decision) == (2, 2, None)
    with desk.database.read() as session:
        jobs = [session.get_one(Job, run.job_id) for run in (*elsewhere.runs, *here.runs)]
        kcores = [run.kcore for run in (*elsewhere.runs, *here.runs)]
        of_bad = dict(session.execute(select(JobInput.name, JobInput.digest).where(JobInput.job_id == bad)).all())
    assert kcores == [of_bad["kcore"]] * 2 + [facts.good_kcore] * 2
    assert facts.good_kcore != of_bad["kcore"]
    assert [job.request["placement"]["exclude"] for job in jobs] == [["lab1.g3"]] * 2 + [[]] * 2
    assert [job.request["placement"]["slot"] for job in jobs] == [None] * 2 + ["lab1.g3"] * 2
    assert {(job.state, job.batch_id) for job in jobs} == {(JobState.QUEUED, facts.row.batch_id)}


@pytest.mark.parametrize(
    ("elsewhere", "here", "cause"),
    [(GOOD, BAD, Cause.CARD), (BAD, GOOD, Cause.TOOLCHAIN), (BAD, BAD, Cause.MODEL), (GOOD, GOOD, Cause.CANNOT_TELL)],
)
def test_the_results_of_the_cross_give_the_verdict(desk, triages, bad, elsewhere, here, cause):
    facts = run_cross(desk, started(desk, triages, bad), elsewhere, here)

    assert facts.decision is not None
    assert facts.decision.cause is cause
    assert [(run.right, run.wrong) for run in facts.cells[1].runs] == [(2, 0) if here is GOOD else (1, 1)] * 2


def test_an_answer_that_is_wrong_everywhere_does_not_clear_the_card(desk, triages, bad):
    both = ended(desk, inference(desk, b"newer"), ["Paris", "five"])

    facts = run_cross(desk, started(desk, triages, both), BAD, BAD)
    healed = run_cross(desk, started(desk, triages, both), ["Paris", "four"], BAD)

    assert [each.decision.cause for each in (facts, healed)] == [Cause.CANNOT_TELL] * 2
    assert healed.decision.why.startswith("1 prompts that were answered wrong")


def test_a_job_that_failed_with_wrong_answers_is_triaged_by_them_and_its_cross_is_judged_here(desk, triages):
    ended(desk, inference(desk, b"good"), GOOD, slot="lab1.g0")
    failure = Failure(kind=FailureKind.WRONG_ANSWERS, reason="1 of 2 answers are not the golden answers")
    bad = ended(desk, inference(desk, b"new"), BAD, failure=failure)

    facts = started(desk, triages, bad)
    with desk.database.read() as session:
        rules = {session.get_one(Job, run.job_id).spec["require"] for cell in facts.cells for run in cell.runs}
    facts = run_cross(desk, facts, BAD, GOOD)

    assert (facts.observed.outcome, facts.observed.right, facts.observed.wrong) == (CrossOutcome.WRONG, 1, 1)
    assert rules == {"report"}
    assert facts.decision.cause is Cause.TOOLCHAIN


def test_without_golden_answers_those_of_the_good_kernel_image_are_the_reference(desk, triages):
    for _ in range(2):
        ended(desk, inference(desk, b"good"), GOOD, slot="lab1.g0", golden=False)
    bad = ended(desk, inference(desk, b"new"), BAD, golden=False)

    facts = run_cross(desk, started(desk, triages, bad), BAD, GOOD, golden=False)

    assert facts.decision.cause is Cause.TOOLCHAIN


def test_a_kernel_image_whose_answers_changed_from_run_to_run_is_not_good(desk, triages):
    for texts in (GOOD, BAD):
        ended(desk, inference(desk, b"unsteady"), texts, golden=False)
    bad = ended(desk, inference(desk, b"new"), BAD)

    facts = started(desk, triages, bad)

    assert facts.row.good_job_id is None
    assert facts.cells[1].absent == "no other kernel image of this model is known to be good with these prompts"


def test_only_the_half_of_the_cross_that_exists_is_run(desk, triages):
    bad = ended(desk, inference(desk, b"new"), BAD)

    facts = run_cross(desk, started(desk, triages, bad), GOOD, ())

    assert len(facts.cells[1].runs) == 0
    assert facts.decision.cause is Cause.CARD
    assert "half of the cross" in facts.decision.why


def test_a_quarantined_card_group_is_not_waited_for(desk, triages, bad):
    with desk.database.write() as session:
        session.get_one(Slot, "lab1.g3").service_state = ServiceState.QUARANTINED

    facts = started(desk, triages, bad)

    assert facts.cells[1].absent == "lab1.g3 is not in service"
    assert len(facts.cells[0].runs) == 2


def test_a_kernel_image_of_other_prompts_or_in_doubt_is_not_the_good_one(desk, triages):
    other = ended(desk, inference(desk, b"other", prompts=desk.file("other.txt", b"other\n")), GOOD)
    doubtful = ended(desk, inference(desk, b"doubtful"), GOOD)
    in_doubt(desk, doubtful)
    bad = ended(desk, inference(desk, b"new"), BAD)

    assert started(desk, triages, bad).row.good_job_id not in (other, doubtful)


def in_doubt(desk: Desk, job: int) -> None:
    with desk.database.write() as session:
        attempt = triage.latest_attempt(session, job)
        session.add(Doubt(attempt_id=attempt.id, slot_id="lab1.g3", reason="canary_failed", evidence={}, at=now()))


@both_databases
def test_a_job_that_faulted_can_be_asked_about(desk, triages):
    ended(desk, inference(desk, b"good"), GOOD, slot="lab1.g0")
    bad = ended(desk, inference(desk, b"new"), failure=FAULT)

    facts = started(desk, triages, bad)
    for cell, slot in zip(facts.cells, ("lab1.g0", "lab1.g3"), strict=True):
        for run in cell.runs:
            ended(desk, run.job_id, slot=slot, failure=FAULT) if cell.name == "elsewhere" else ended(
                desk, run.job_id, GOOD, slot=slot
            )

    assert shown(desk, facts.row.id).decision.cause is Cause.TOOLCHAIN


def test_what_cannot_be_told_is_refused_and_no_job_is_made(desk, triages):
    good = ended(desk, inference(desk, b"good"), GOOD)
    waiting = inference(desk, b"new")
    quantize = desk.submit({"kind": "quantize", "model": "qwen"})
    cancelled = ended(desk, inference(desk, b"c"), failure=Failure(kind=FailureKind.QUEUE_DEADLINE, reason="late"))
    unknown = ended(desk, inference(desk, b"u", prompts=desk.file("u.txt", b"u\n")), BAD, golden=False)
    doubtful = ended(desk, inference(desk, b"d"), BAD)
    in_doubt(desk, doubtful)
    several = ended(desk, inference(desk, b"m", groups=2), failure=TOOL)
    with desk.database.read() as session:
        before = len(session.scalars(select(Job.id)).all())

    for job, error, told in [
        (good, BadRequest, "all 2 answers"),
        (waiting, IllegalTransition, "is queued"),
        (quantize, BadRequest, "has no kernel image"),
        (cancelled, BadRequest, "without a result"),
        (unknown, BadRequest, "has no golden"),
        (doubtful, IllegalTransition, "in doubt"),
        (several, BadRequest, "2 card groups at once"),
        (999, NotFound, "no job 999"),
    ]:
        with pytest.raises(error, match=told):
            triages.start(job, repeats=2, by="ada")

    with desk.database.read() as session:
        assert len(session.scalars(select(Job.id)).all()) == before


@both_databases
def test_a_repeated_request_makes_one_triage(desk, triages, bad):
    make(desk.database, "ada", ("submitter",))
    key = Idempotency(1, "key", "f" * 64)

    first, second = (triages.start(bad, repeats=1, by="ada", idempotency=key) for _ in range(2))

    assert first == (second[0], False)
    assert second[1] is True
    with desk.database.read() as session:
        assert session.scalars(select(Event.kind).where(Event.kind == "triage.created")).all() == ["triage.created"]
        assert triage.of_job(session, bad) == [first[0]]
