"""Doubt backwards: what evidence against the cards of a slot does to its earlier results."""

import pytest
from builders.lifecycle import a_job, a_serve_request, a_slot, assign, claim, needs, now
from builders.rows import a_job_row, a_slot_row, an_attempt
from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.comparisons.runs import read_runs
from orchestrator.errors import IllegalTransition, NotFound
from orchestrator.jobs.lifecycle import Ending
from orchestrator.jobs.ownership import Owner
from orchestrator.model.doubts import DoubtReason, LiftOrder
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.states import AttemptState, JobState, ServiceState, Until
from orchestrator.slots import doubt
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Attempt, Doubt, Event, Job, Metric, Slot
from workers.attempt import report
from workers.attempt.collect import Results

WRONG = Failure(kind=FailureKind.WRONG_ANSWERS, reason="1 of 2 answers are not the golden ones")
STICKY = Suspicion(reason="HPGR: device error", signature="hpgr_device_error")


def _result(session: Session, *slots: str, exact: tuple[int, int] | None = None, **facts) -> Attempt:
    """An attempt that succeeded on these slots, and how many of its answers were exact."""
    job = a_job_row(session, state=JobState.SUCCEEDED, **facts)
    for slot in slots:
        a_slot_row(session, slot)
    found = an_attempt(
        session, job, slot_id=slots[0], slot_ids=list(slots), state=AttemptState.SUCCEEDED, ended_at=now()
    )
    if exact is not None:
        told = {"unit": "answers", "definition": "exact_answers/characters"}
        session.add(Metric(attempt_id=found.id, name="exact_answers", value=exact[0], count=exact[1], **told))
        session.flush()
    return found


def _canary(session: Session, slot: str) -> Attempt:
    return _result(session, slot, kind="canary")


def _doubted(database: Database) -> set[int]:
    with database.read() as session:
        return set(session.scalars(select(Doubt.attempt_id).where(Doubt.lifted.is_(None))))


def _cast(session: Session, slot: str = "lab1.g0", reason=DoubtReason.CANARY_FAILED, **facts) -> int:
    return doubt.doubt_since_last_proof(session, slot, reason, {"reason": "r"}, now(), **facts)


def test_wrong_answers_are_results_and_become_doubtful_too(database: Database):
    with database.write() as session:
        a_slot_row(session, "lab1.g0")
        job = a_job_row(session, state=JobState.FAILED, failure=WRONG.model_dump(mode="json"))
        told = {"state": AttemptState.FAILED, "ended_at": now()}
        wrong = an_attempt(session, job, slot_id="lab1.g0", failure=WRONG.model_dump(mode="json"), **told)
        an_attempt(session, a_job_row(session, state=JobState.FAILED), slot_id="lab1.g0", **told)
        assert _cast(session) == 1

    assert _doubted(database) == {wrong.id}


def test_results_since_the_last_canary_that_passed_become_doubtful_and_no_others(database: Database):
    with database.write() as session:
        _result(session, "lab1.g0")
        passed = _canary(session, "lab1.g0")
        since = [_result(session, "lab1.g0") for _ in range(2)]
        _result(session, "lab1.g1")
        _result(session, "lab2.g0")
        assert _cast(session) == 2

    assert _doubted(database) == {attempt.id for attempt in since}
    with database.read() as session:
        row = session.scalars(select(Doubt)).first()
        assert row.evidence == {"reason": "r", "proof": {"attempt_id": passed.id, "job_id": passed.job_id}}
        event = session.scalars(select(Event).where(Event.kind == "results.doubted")).one()
    assert (event.slot_id, event.data["results"]) == ("lab1.g0", 2)


def test_answers_that_are_all_exact_are_a_proof_and_some_that_are_not_are_none(database: Database):
    with database.write() as session:
        _result(session, "lab1.g0")
        _result(session, "lab1.g0", exact=(4, 4))
        since = _result(session, "lab1.g0", exact=(3, 4))
        _cast(session)

    assert _doubted(database) == {since.id}


def test_exact_answers_of_a_run_that_met_a_device_error_prove_nothing(database: Database):
    with database.write() as session:
        found = _result(session, "lab1.g0", exact=(4, 4))
        found.suspicion = STICKY.model_dump(mode="json")
        _cast(session)

    assert _doubted(database) == {found.id}


def test_without_any_proof_all_results_of_the_slot_are_doubtful(database: Database):
    with database.write() as session:
        found = [_result(session, "lab1.g0") for _ in range(3)]
        assert _cast(session) == 3

    assert _doubted(database) == {attempt.id for attempt in found}


def test_a_result_of_several_slots_is_doubtful_if_one_of_them_is(database: Database):
    with database.write() as session:
        found = _result(session, "lab1.g0", "lab1.g1")
        _result(session, "lab1.g0", "lab1.g2")
        _cast(session, "lab1.g1")

    assert _doubted(database) == {found.id}


def test_what_a_client_measured_of_a_server_there_is_doubtful_too(database: Database):
    with database.write() as session:
        served = _result(session, "lab1.g0", request=a_serve_request().model_dump(mode="json"))
        served.started_at = now()
        client, earlier = (_result(session, "lab1.cpu0") for _ in range(2))
        client.started_at = now()
        for each in (client, earlier):
            needs(session, *(session.get_one(Job, one.job_id) for one in (each, served)), until=Until.READY)
        served.ended_at = now()
        _cast(session)

    assert _doubted(database) == {served.id, client.id}


def test_results_that_are_the_evidence_itself_are_left_out(database: Database):
    with database.write() as session:
        before, evident = (_result(session, "lab1.g0") for _ in range(2))
        _cast(session, reason=DoubtReason.SILENT_CORRUPTION, evident=[evident.job_id])

    assert _doubted(database) == {before.id}


def test_the_same_evidence_again_adds_nothing_and_writes_no_event(database: Database):
    with database.write() as session:
        _result(session, "lab1.g0")
        assert [_cast(session), _cast(session)] == [1, 0]
        assert len(session.scalars(select(Event).where(Event.kind == "results.doubted")).all()) == 1


def _run(database: Database, *, kind: str = "infer", failure=None, suspicion=None) -> int:
    """An attempt on lab1.g0 that runs and ends as its worker reports it; its id."""
    with database.write() as session:
        slot = session.get(Slot, "lab1.g0") or a_slot(session, "g0")
        attempt_id = assign(session, a_job(session, kind=kind).id, slot.id)
        attempt = session.get_one(Attempt, attempt_id)
        assert claim(session, attempt)
        owner = Owner(slot.worker, slot.id)
    report.finish(
        database, attempt_id, Ending(failure, 1.0, None, 0, suspicion), Results(), owner=owner, max_attempts=3
    )
    return attempt_id


def test_a_canary_with_wrong_answers_makes_the_results_before_it_doubtful_for_comparisons(database: Database):
    first = _run(database)
    suspicion = Suspicion(reason=f"the canary failed: {WRONG.reason}", blames_job=False)
    canary = _run(database, kind="canary", failure=WRONG, suspicion=suspicion)

    assert _doubted(database) == {first}
    with database.read() as session:
        job_id = session.get_one(Attempt, first).job_id
        (run,) = read_runs(session, [job_id])
        evidence = session.scalars(select(Doubt.evidence)).one()
    assert (run.state, run.used, run.doubt) == (JobState.SUCCEEDED, False, DoubtReason.CANARY_FAILED)
    assert evidence["attempt_id"] == canary


def test_a_run_that_succeeds_in_spite_of_a_sticky_device_error_is_doubtful_itself(database: Database):
    before = _run(database)
    found = _run(database, suspicion=STICKY)

    assert _doubted(database) == {before, found}


def test_a_canary_that_fails_because_of_its_host_casts_no_doubt(database: Database):
    _run(database)
    full = Failure(kind=FailureKind.FAULT, reason="No space left on device", signature="disk_full")
    _run(database, kind="canary", failure=full, suspicion=Suspicion(reason="the canary failed", signature="disk_full"))

    assert _doubted(database) == set()


def test_cards_that_another_process_uses_cast_no_doubt(database: Database):
    _run(database)
    _run(database, suspicion=Suspicion(reason="after the run, card 1 is open in 77", blames_job=False))

    assert _doubted(database) == set()


def test_a_canary_that_crashes_confirms_a_suspicion_from_unrelated_failures(database: Database):
    first = _run(database)
    with database.write() as session:
        slot = session.get_one(Slot, "lab1.g0")
        slot.service_state = ServiceState.QUARANTINED
        slot.quarantined_because = {"evidence": {"score": 3.0, "attempts": [{}]}}
    crash = Failure(kind=FailureKind.TOOL, reason="exit code 1")
    _run(database, kind="canary", failure=crash, suspicion=Suspicion(reason="the canary failed", blames_job=False))

    assert _doubted(database) == {first}
    with database.read() as session:
        assert session.scalars(select(Doubt.reason)).all() == [DoubtReason.SUSPICION_CONFIRMED]


def test_a_lifted_doubt_stays_as_a_row_and_new_evidence_casts_it_again(database: Database):
    with database.write() as session:
        found = _result(session, "lab1.g0")
        _cast(session)
        order = LiftOrder(slot="lab1.g0", note="the cable was loose")
        (lifted,) = doubt.lift(session, order, by="alice", now=now())
        assert (lifted.job_id, lifted.doubt.lifted["by"]) == (found.job_id, "alice")
    assert _doubted(database) == set()

    with database.write() as session:
        assert _cast(session) == 1
        assert len(session.scalars(select(Doubt)).all()) == 2
        event = session.scalars(select(Event).where(Event.kind == "doubt.lifted")).one()
    assert (event.data["by"], event.data["why"], len(event.data["doubts"])) == ("alice", "the cable was loose", 1)


def test_a_doubt_that_is_not_there_or_is_lifted_cannot_be_lifted(database: Database):
    with database.write() as session:
        found = _result(session, "lab1.g0")
        _cast(session)
        doubt.lift(session, LiftOrder(job=found.job_id, note="n"), by="alice", now=now())
        with pytest.raises(IllegalTransition):
            doubt.lift(session, LiftOrder(job=found.job_id, note="n"), by="alice", now=now())
        with pytest.raises(NotFound, match="4711"):
            doubt.lift(session, LiftOrder(doubts=(4711,), note="n"), by="alice", now=now())
