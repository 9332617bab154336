"""What happened to a card group, from its events and the faults of attempts there."""

from builders.desk import Desk
from builders.lifecycle import a_job, a_running_attempt, a_slot, finish, now

from orchestrator.model.doubts import DoubtReason
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.slots import doubt, service
from orchestrator.slots.history import history


def test_a_slot_tells_its_quarantines_drains_swaps_doubts_and_faults_newest_first(desk: Desk):
    with desk.database.admission() as (session, _):
        slot, other = a_slot(session, "g0"), a_slot(session, "g1")
        fault = a_running_attempt(session, slot=slot)
        finish(session, fault, Failure(kind=FailureKind.FAULT, reason="HPGR: device error"))
        tool = a_running_attempt(session, slot=slot)
        finish(session, tool, Failure(kind=FailureKind.TOOL, reason="bad prompt"))
        service.drain(session, slot.id, by="ann", note="card 2 swapped", now=now())
        service.resume(session, slot.id, by="bob", note=None, now=now())
        service.quarantine(session, slot.id, by="ann", note="odd noise", now=now())
        service.quarantine(session, other.id, by="ann", note="not this one", now=now())

    with desk.database.read() as session:
        found = history(session, slot.id, 20)
        latest = history(session, slot.id, 1)

    told = [(event.what, event.by, event.why) for event in found]
    assert told == [
        ("quarantined", "ann", "odd noise"),
        ("resumed", "bob", None),
        ("drained", "ann", "card 2 swapped"),
        ("fault", None, "HPGR: device error"),
    ]
    assert (found[-1].job_id, found[-1].attempt_id) == (fault.job_id, fault.id)
    assert latest == found[:1]


def test_a_result_whose_cards_were_too_hot_is_doubtful_alone_and_the_slot_tells_it(desk: Desk):
    with desk.database.write() as session:
        slot = a_slot(session)
        finish(session, a_running_attempt(session, a_job(session), slot))
        hot = a_running_attempt(session, a_job(session), slot)
        finish(session, hot)
        doubt.of_attempt(session, hot.id, DoubtReason.OUT_OF_LIMITS, {"reason": "celsius 91 on card 0"}, now=now())

    with desk.database.read() as session:
        doubtful = [facts.job_id for facts in doubt.doubts(session, limit=9)]
        (event,) = history(session, slot.id, 20)

    assert doubtful == [hot.job_id]
    assert event.why == "results in doubt: 1 (out_of_limits): celsius 91 on card 0"
