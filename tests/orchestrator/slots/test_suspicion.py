"""The score of slots, from attempts that ended in SQL."""

from datetime import timedelta

from builders.lifecycle import a_job, a_running_attempt, a_slot, finish, now
from sqlalchemy.orm import Session

from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.slots import SlotKind
from orchestrator.slots import suspicion
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, JobInput, Slot

TOOL = Failure(kind=FailureKind.TOOL, reason="exit code 1")
WRONG = Failure(kind=FailureKind.WRONG_ANSWERS, reason="1 of 2 answers are not the golden answers")
DAY = timedelta(days=1)


def _attempt(session: Session, slot: Slot, image: str) -> Attempt:
    """One that runs on `slot` with the kernel image `image`."""
    job = a_job(session)
    session.add(JobInput(job_id=job.id, name="kcore", digest=f"sha256:{image * 64}"))
    session.flush()
    return a_running_attempt(session, job, slot)


def _ended(session: Session, slot: Slot, image: str, failure: Failure | None = None) -> Attempt:
    attempt = _attempt(session, slot, image)
    finish(session, attempt, failure)
    return attempt


def _after_failure(session: Session, attempt: Attempt):
    return suspicion.after_failure(session, attempt.id, now=now(), half_life=DAY)


def test_the_third_unrelated_job_that_fails_on_one_slot_alone_brings_it_into_suspicion(database: Database):
    with database.write() as session:
        bad, good = a_slot(session, "g0"), a_slot(session, "g1")
        for image in "abc":
            _ended(session, good, image)
        first, second = (_ended(session, bad, image, TOOL) for image in "ab")
        third = _attempt(session, bad, "c")

        found = _after_failure(session, third)

    assert [entry["attempt_id"] for entry in found.evidence["attempts"]] == [first.id, second.id, third.id]
    assert not found.blames_job
    assert f"unrelated jobs {first.job_id}, {second.job_id}, {third.job_id} failed here" in found.reason


def test_wrong_answers_of_unrelated_jobs_on_one_slot_alone_bring_it_into_suspicion(database: Database):
    with database.write() as session:
        bad, good = a_slot(session, "g0"), a_slot(session, "g1")
        for image in "abc":
            _ended(session, good, image)
        for image in "ab":
            _ended(session, bad, image, WRONG)

        assert _after_failure(session, _attempt(session, bad, "c")) is not None


def test_a_bad_model_brings_no_slot_into_suspicion_however_often_it_answers_wrongly(database: Database):
    with database.write() as session:
        bad, good = a_slot(session, "g0"), a_slot(session, "g1")
        _ended(session, good, "b")
        for slot in (bad, good, bad, good, bad):
            _ended(session, slot, "a", WRONG)

        assert suspicion.score_of(session, bad.id, now=now(), half_life=DAY).value == 0


def test_wrong_answers_of_a_client_are_no_evidence_about_its_seat(database: Database):
    with database.write() as session:
        seat, other = a_slot(session, "cpu0"), a_slot(session, "cpu1")
        for slot, failure in ((other, None), (seat, WRONG)):
            job = a_job(session, kind="client", slot_kind=SlotKind.CPU)
            finish(session, a_running_attempt(session, job, slot), failure)

        assert suspicion.score_of(session, seat.id, now=now(), half_life=DAY).value == 0


def test_a_job_that_fails_on_every_slot_brings_none_into_suspicion(database: Database):
    with database.write() as session:
        slots = [a_slot(session, f"g{number}") for number in range(4)]
        for image in "bc":
            _ended(session, slots[3], image)
        found = [_after_failure(session, _attempt(session, slot, "a")) for slot in slots]
        for slot in slots[:3]:
            _ended(session, a_slot(session, "g0", host=f"other{slot.name}"), "a", TOOL)

        assert found == [None] * 4
        assert suspicion.score_of(session, slots[0].id, now=now(), half_life=DAY).value == 0


def test_failures_of_people_and_of_specs_say_nothing_of_a_slot(database: Database):
    cancelled = Failure(kind=FailureKind.CANCELLED, reason="cancelled")
    with database.write() as session:
        bad, good = a_slot(session, "g0"), a_slot(session, "g1")
        for image in "ab":
            _ended(session, good, image)
            _ended(session, bad, image, cancelled)

        assert suspicion.score_of(session, bad.id, now=now(), half_life=DAY).value == 0


def test_of_two_slots_the_one_that_failed_in_other_company_too_comes_under_suspicion(database: Database):
    with database.write() as session:
        bad, partner, good = a_slot(session, "g0"), a_slot(session, "g1"), a_slot(session, "g2")
        for image in "abcd":
            _ended(session, good, image)
        for image in "abc":
            _ended(session, bad, image, TOOL)
        gang = _attempt(session, partner, "d")
        gang.slot_ids = [partner.id, bad.id]
        session.flush()

        assert _after_failure(session, gang).slots == (bad.id,)


def test_the_course_of_a_score_ends_with_its_value_now(database: Database):
    with database.write() as session:
        bad, good = a_slot(session, "g0"), a_slot(session, "g1")
        for image in "ab":
            _ended(session, good, image)
        for image in "ab":
            _ended(session, bad, image, TOOL)
        at = now()

        course = suspicion.course(session, bad.id, now=at, half_life=DAY)
        value = suspicion.score_of(session, bad.id, now=at, half_life=DAY).value

    assert [moment for moment, _ in course] == sorted(moment for moment, _ in course)
    assert course[-1] == (at, round(value, 2))
    assert 0 < course[0][1] < course[1][1]


def test_the_course_of_a_slot_without_attempts_is_one_point(database: Database):
    with database.write() as session:
        slot, at = a_slot(session, "g0"), now()

        assert suspicion.course(session, slot.id, now=at, half_life=DAY) == [(at, 0)]
