"""The report of a batch, on both databases."""

from datetime import timedelta
from xml.etree import ElementTree

import pytest
from builders.desk import Desk
from builders.lifecycle import (
    FAULT,
    TOOL,
    a_running_attempt,
    a_slot,
    a_waiting_job,
    assign,
    claim,
    ending,
    now,
    owner_of,
)
from sqlalchemy.orm import Session

from api.views.junit import junit
from orchestrator.batches import report
from orchestrator.batches.report import BatchReport, JobLine, SlotLine
from orchestrator.errors import NotFound
from orchestrator.jobs import lifecycle
from orchestrator.jobs.lifecycle import Ending
from orchestrator.model.batches import BatchState
from orchestrator.model.doubts import DoubtReason
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.states import JobState
from orchestrator.slots import doubt
from orchestrator.storage.tables import (
    Answer,
    Attempt,
    Batch,
    Event,
    Job,
    JobInput,
    Metric,
    Reservation,
    ReservationSlot,
    Slot,
)

STICKY = Suspicion(reason="HPGR: device error", signature="hpgr_device_error")
DIGEST = f"sha256:{'c' * 64}"


@pytest.fixture
def batch(desk) -> int:
    with desk.database.write() as session:
        row = Batch(
            name="stress", project="default", stop_on="never", size=0, left_out={}, created_at=now(),
            touched_at=now(), sealed_at=now(),
        )  # fmt: skip
        session.add(row)
        session.flush()
        return row.id


def _queued(session: Session, batch: int) -> Job:
    job = a_waiting_job(session, batch_id=batch)
    lifecycle.queue(session, job, start=JobState.WAITING, now=now())
    session.add_all(JobInput(job_id=job.id, name=name, digest=DIGEST) for name in ("kcore", "prompts"))
    session.flush()
    return job


def _ran(session: Session, batch: int, slot: str, failure=None, suspicion=None, seconds=1.0, **facts) -> Attempt:
    """A job of the batch that ran on that slot."""
    job = facts.get("job") or _queued(session, batch)
    place = session.get(Slot, f"lab1.{slot}") or a_slot(session, slot)
    attempt = a_running_attempt(session, job, place)
    ending, most = Ending(failure, seconds, None, 0, suspicion), facts.get("max_attempts", 1)
    lifecycle.finish(session, attempt.id, ending, owner=owner_of(session, attempt.id), now=now(), max_attempts=most)
    return attempt


def _answered(session: Session, batch: int, slot: str, *texts: str, failure: Failure | None = None) -> None:
    attempt = session.get_one(Attempt, _ran(session, batch, slot, failure).id, populate_existing=True)
    attempt.answers_digest = "sha256:" + "/".join(texts)
    rows = enumerate(texts)
    session.add_all(
        Answer(attempt_id=attempt.id, repeat=1, index=index, question=f"问题{index}", text=text) for index, text in rows
    )
    session.flush()


def _report(desk: Desk, batch: int) -> BatchReport:
    with desk.database.read() as session:
        return report.report(session, batch)


def _line(found: BatchReport, slot: str) -> SlotLine:
    return next(line for line in found.slots if line.slot_id == f"lab1.{slot}")


def test_faults_stand_apart_from_failures_and_each_slot_beside_the_others(desk, batch):
    with desk.database.write() as session:
        _ran(session, batch, "g0", seconds=3.0)
        _ran(session, batch, "g0", seconds=1.0)
        _ran(session, batch, "g1", TOOL)
        _ran(session, batch, "g2", FAULT, STICKY)
        _queued(session, batch)

    found = _report(desk, batch)

    assert found.facts.state is BatchState.RUNNING
    assert found.facts.counts == {JobState.SUCCEEDED: 2, JobState.FAILED: 2, JobState.QUEUED: 1}
    assert (found.failures, found.faults) == ({"tool": 1}, 1)
    assert [(line.jobs, line.failures, line.faults) for line in found.slots] == [(2, 0, 0), (1, 1, 0), (1, 0, 1)]
    assert (_line(found, "g0").seconds_p50, _line(found, "g0").seconds_max) == (2.0, 3.0)
    assert {(told.kind, told.reason, told.slot_id) for told in found.first_failures} == {
        (FailureKind.TOOL, TOOL.reason, "lab1.g1"),
        (FailureKind.FAULT, FAULT.reason, "lab1.g2"),
    }
    assert [(fault.slot_id, fault.signature, fault.quarantined) for fault in found.first_faults] == [
        ("lab1.g2", "hpgr_device_error", True)
    ]


def test_a_success_that_left_its_slot_dead_is_a_fault_and_no_failure(desk, batch):
    with desk.database.write() as session:
        _ran(session, batch, "g0", suspicion=STICKY)

    found = _report(desk, batch)

    assert (found.facts.state, found.failures, found.faults) == (BatchState.SUCCEEDED, {}, 1)


def test_a_tail_of_few_runs_is_not_shown(desk, batch):
    with desk.database.write() as session:
        for slot, count in (("g0", 129), ("g1", 130)):
            first = _ran(session, batch, slot)
            session.add_all(
                Attempt(
                    job_id=first.job_id, number=number + 2, slot_id=f"lab1.{slot}", slot_ids=[f"lab1.{slot}"],
                    state="succeeded", seconds=1.0,
                    assigned_at=now(), started_at=now(),
                )
                for number in range(count - 1)
            )  # fmt: skip

    found = _report(desk, batch)

    assert (_line(found, "g0").seconds_p95, _line(found, "g1").seconds_p95) == (None, 1.0)


def test_exact_answers_are_summed_for_each_slot_that_was_compared(desk, batch):
    with desk.database.write() as session:
        for slot, exact in (("g0", 85), ("g0", 84), ("g1", None)):
            attempt = _ran(session, batch, slot)
            if exact is not None:
                session.add(
                    Metric(
                        attempt_id=attempt.id, name="exact_answers", value=exact, unit="answers", definition="d",
                        count=85,
                    )
                )  # fmt: skip

    found = _report(desk, batch)

    assert (_line(found, "g0").exact, _line(found, "g0").compared) == (169, 170)
    assert (_line(found, "g1").exact, _line(found, "g1").compared) == (None, None)


def test_the_slot_that_answers_unlike_the_others_is_named(desk, batch):
    with desk.database.write() as session:
        for slot in ("g0", "g1", "g2"):
            _answered(session, batch, slot, "北京", "上海")
        _answered(session, batch, "g3", "北京", "天津")

    found = _report(desk, batch)

    assert [(odd.slot_id, odd.prompts, odd.first) for odd in found.agreement.odd] == [("lab1.g3", 1, 1)]
    assert [line.odd_prompts for line in found.slots] == [0, 0, 0, 1]
    assert (found.agreement.prompts, found.agreement.undecided, found.agreement.unsteady) == (2, 0, ())


def test_slots_that_were_asked_something_else_are_not_compared(desk, batch):
    with desk.database.write() as session:
        for slot in ("g0", "g1", "g2"):
            _answered(session, batch, slot, "北京")
        other = _queued(session, batch)
        session.get_one(JobInput, (other.id, "kcore")).digest = f"sha256:{'d' * 64}"
        attempt = session.get_one(Attempt, _ran(session, batch, "g3", job=other).id, populate_existing=True)
        attempt.answers_digest = "sha256:other"
        session.add(Answer(attempt_id=attempt.id, repeat=1, index=0, question="q", text="天津"))

    assert _report(desk, batch).agreement.odd == ()


def test_a_batch_that_is_not_there_is_not_found(desk):
    with pytest.raises(NotFound, match="no batch 7"):
        _report(desk, 7)


def test_in_junit_a_fault_is_an_error_a_failed_job_a_failure_and_the_rest_skipped(desk, batch):
    with desk.database.write() as session:
        _ran(session, batch, "g0")
        _ran(session, batch, "g1", Failure(kind=FailureKind.TOOL, reason='坏 <&"\x1b[31m'))
        _ran(session, batch, "g2", FAULT)
        lifecycle.cancel(session, _queued(session, batch).id, by="alice", why="wrong model", now=now())
        _queued(session, batch)

    with desk.database.read() as session:
        suite = ElementTree.fromstring(junit(report.report(session, batch), report.job_lines(session, batch)))[0]

    assert {name: suite.get(name) for name in ("tests", "failures", "errors", "skipped")} == {
        "tests": "5", "failures": "1", "errors": "1", "skipped": "2",
    }  # fmt: skip
    cases = [(case, [each for each in case if each.tag in ("failure", "error", "skipped")]) for case in suite[1:]]
    told = [(case.get("classname"), [(each.tag, each.get("message")) for each in found]) for case, found in cases]
    assert told == [
        ("stress.lab1.g0", []),
        ("stress.lab1.g1", [("failure", '坏 <&"\ufffd[31m')]),
        ("stress.lab1.g2", [("error", "the card died")]),
        ("stress", [("skipped", "cancelled by alice: wrong model")]),
        ("stress", [("skipped", "it has not ended: queued")]),
    ]


def _suite_of(desk: Desk, batch: int, **asked) -> ElementTree.Element:
    with desk.database.read() as session:
        return ElementTree.fromstring(junit(report.report(session, batch), report.job_lines(session, batch), **asked))[
            0
        ]


def _properties(element: ElementTree.Element) -> dict[str, str]:
    return {each.get("name"): each.get("value") for each in element.findall("properties/property")}


def test_in_junit_a_retried_fault_is_output_of_its_case_and_its_quarantine_a_property_of_the_suite(desk, batch):
    with desk.database.write() as session:
        job = session.get_one(Job, _ran(session, batch, "g0", FAULT, STICKY, max_attempts=3).job_id)
        _ran(session, batch, "g1", job=job)

    suite = _suite_of(desk, batch)

    (case,) = suite.findall("testcase")
    assert (suite.get("failures"), suite.get("errors"), case.get("classname")) == ("0", "0", "stress.lab1.g1")
    assert [each.tag for each in case] == ["properties", "flakyFailure", "system-out"]
    assert case.findtext("system-out") == "attempt 1 on lab1.g0: HPGR: device error (slot quarantined)"
    assert _properties(case) == {"infrastructure_faults": "1"}
    assert _properties(suite) == {
        "infrastructure_faults": "1", "quarantined.lab1.g0": f"job {job.id}: HPGR: device error",
    }  # fmt: skip


def test_in_junit_wrong_answers_name_their_prompts_and_an_odd_group_is_a_property(desk, batch):
    wrong = Failure(kind=FailureKind.WRONG_ANSWERS, reason="1 of 1 answers are not the golden answers: prompt 0 “2+2”")
    with desk.database.write() as session:
        for slot, text in (("g0", "4"), ("g1", "4"), ("g2", "5")):
            _answered(session, batch, slot, text, failure=wrong if text == "5" else None)

    suite = _suite_of(desk, batch)

    assert [(each.get("type"), each.get("message")) for each in suite.iter("failure")] == [
        ("wrong_answers", wrong.reason)
    ]
    assert _properties(suite)["distinct_answers"] == "2"
    assert _properties(suite)["odd_group.lab1.g2"].startswith("answers: worse: differs from the majority on 1 of 1")


def test_in_junit_a_required_agreement_is_one_case_more(desk, batch):
    with desk.database.write() as session:
        for slot in ("g0", "g1"):
            _answered(session, batch, slot, "4")
    agree = _suite_of(desk, batch, require_agreement=True)
    with desk.database.write() as session:
        _answered(session, batch, "g2", "5")
    differ = _suite_of(desk, batch, require_agreement=True)

    assert (agree.get("tests"), agree.get("failures")) == ("3", "0")
    assert (differ.get("tests"), differ.get("failures")) == ("4", "1")
    assert [each.get("message") for each in differ.iter("failure")] == [
        "lab1.g2 differs from the majority on 1 of 1 prompts"
    ]
    assert _suite_of(desk, batch).get("failures") == "0"


def test_the_seconds_of_a_job_are_those_from_its_start_to_its_end(desk, batch):
    with desk.database.write() as session:
        job = session.get_one(Job, _ran(session, batch, "g0").job_id, populate_existing=True)
        job.ended_at = job.started_at + timedelta(seconds=4)

    with desk.database.read() as session:
        lines = list(report.job_lines(session, batch))

    assert lines == [JobLine(job.id, "infer", JobState.SUCCEEDED, None, "lab1.g0", 4.0, attempts=1)]


def test_each_group_of_a_gang_is_told_and_compared_by_itself(desk, batch):
    names = [f"lab1.g{index}" for index in range(3)]
    with desk.database.write() as session:
        for index in range(3):
            a_slot(session, f"g{index}")
        job = _queued(session, batch)
        attempt_id = assign(session, job.id, *names)
        attempt = session.get_one(Attempt, attempt_id)
        claim(session, attempt)
        lifecycle.finish(session, attempt_id, ending(), owner=owner_of(session, attempt_id), now=now(), max_attempts=1)
        session.refresh(attempt)
        attempt.answers_digest = DIGEST
        session.add_all(
            Answer(
                attempt_id=attempt_id, repeat=1, index=index, batch=slot, question=f"问题{index}",
                text="好" if slot == 1 else "对", exact=slot != 1,
            )
            for slot in range(3)
            for index in range(2)
        )  # fmt: skip

    found = _report(desk, batch)

    assert [(line.slot_id, line.jobs, line.exact, line.compared, line.odd_prompts) for line in found.slots] == [
        ("lab1.g0", 1, 2, 2, 0),
        ("lab1.g1", 1, 0, 2, 2),
        ("lab1.g2", 1, 2, 2, 0),
    ]


def test_a_fault_of_a_gang_counts_for_each_of_its_slots(desk, batch):
    with desk.database.write() as session:
        for name in ("g0", "g1"):
            a_slot(session, name)
        attempt_id = assign(session, _queued(session, batch).id, "lab1.g0", "lab1.g1")
        claim(session, session.get_one(Attempt, attempt_id))
        lifecycle.finish(
            session, attempt_id, ending(FAULT), owner=owner_of(session, attempt_id), now=now(), max_attempts=1
        )

    found = _report(desk, batch)

    assert found.faults == 1
    assert [(line.slot_id, line.faults) for line in found.slots] == [("lab1.g0", 1), ("lab1.g1", 1)]


def _measured(session: Session, batch: int, slot: str, **numbers: float) -> None:
    attempt = _ran(session, batch, slot)
    session.add_all(
        Metric(attempt_id=attempt.id, name=name, value=value, unit="u", definition="d", count=1)
        for name, value in numbers.items()
    )
    session.flush()


def test_a_slow_group_and_one_that_answers_otherwise_are_named_with_their_cards(desk, batch):
    with desk.database.write() as session:
        for time in range(3):
            for index in range(8):
                rate = 20.0 if index == 6 else 40.0 + time / 10 + index / 100
                _measured(session, batch, f"g{index}", output_throughput=rate, request_seconds_p50=1.0 + time / 100)
        for index in range(4):
            _answered(session, batch, f"g{index}", "好", "坏" if index == 2 else "好")

    odd = _report(desk, batch).odd_groups

    assert [(each.slot_id, each.what, each.cards) for each in odd] == [
        ("lab1.g2", "answers", (8, 9, 10, 11)),
        ("lab1.g6", "output_throughput", (24, 25, 26, 27)),
    ]


def test_groups_that_measured_the_same_are_not_named(desk, batch):
    with desk.database.write() as session:
        for time in range(3):
            for index in range(8):
                _measured(session, batch, f"g{index}", output_throughput=40.0 + time / 10 + index / 100)

    assert _report(desk, batch).odd_groups == []


def test_the_time_of_each_slot_adds_up(desk, batch):
    start = now() - timedelta(hours=1)

    def at(seconds: float):
        return start + timedelta(seconds=seconds)

    with desk.database.write() as session:
        for slot, failure, begin, end in (("g0", None, 0, 60), ("g0", TOOL, 60, 70), ("g1", None, 10, 100)):
            attempt = session.get_one(Attempt, _ran(session, batch, slot, failure, seconds=40.0).id)
            attempt.started_at, attempt.ended_at = at(begin), at(end)
        session.add_all(
            Event(kind=f"slot.{state}", slot_id="lab1.g0", at=at(when), data={})
            for state, when in (("quarantined", 70), ("in_service", 85))
        )
        reservation = Reservation(by="ann", starts_at=at(0), ends_at=at(95), created_at=at(0))
        session.add(reservation)
        session.flush()
        session.add(ReservationSlot(reservation_id=reservation.id, slot_id="lab1.g0"))

    one, other = _report(desk, batch).device_times

    assert (one.slot_id, one.seconds, one.productive, one.warm_up, one.lost) == ("lab1.g0", 100, 40, 20, 10)
    assert (one.broken, one.reserved, one.waiting) == (15, 10, 5)
    assert (other.productive, other.warm_up, other.waiting, other.broken) == (40, 50, 10, 0)


def test_a_batch_that_has_not_begun_has_used_no_time(desk, batch):
    assert _report(desk, batch).device_times == []


def test_jobs_whose_results_are_in_doubt_are_counted(desk, batch):
    with desk.database.write() as session:
        for slot in ("g0", "g0", "g1"):
            _ran(session, batch, slot)
        doubt.doubt_since_last_proof(session, "lab1.g0", DoubtReason.CANARY_FAILED, {"reason": "r"}, now())

        assert report.report(session, batch).doubtful == 2


@pytest.mark.parametrize(
    ("last", "tags"),
    [
        (None, ["flakyFailure"]),
        (TOOL, ["failure", "rerunFailure"]),
        (FAULT, ["error", "rerunFailure"]),
    ],
)
def test_in_junit_an_attempt_after_which_a_job_was_tried_again_is_told_in_the_words_of_ci_tools(
    desk, batch, last, tags
):
    with desk.database.write() as session:
        job = session.get_one(Job, _ran(session, batch, "g0", FAULT, STICKY, max_attempts=2).job_id)
        _ran(session, batch, "g1", last, job=job, max_attempts=2)

    (case,) = _suite_of(desk, batch).findall("testcase")

    assert [each.tag for each in case if each.tag not in ("properties", "system-out")] == tags
    told = case.find(tags[-1])
    assert "lab1.g0" in told.get("message")
    assert told.get("type") == "fault"
