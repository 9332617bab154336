"""Canaries: registered for a release, placed on quarantined slots alone, and what their ends do to the slots."""

from datetime import timedelta

import pytest
from builders.desk import Desk
from builders.lifecycle import FAULT, TOOL, WORKER, a_slot, claim, finish, now
from sqlalchemy import select

from orchestrator.dispatcher.turn import take_turn
from orchestrator.errors import BadSpec, NotFound
from orchestrator.model.specs import CanarySpec
from orchestrator.model.states import JobState, ServiceState
from orchestrator.slots import canaries, presence, service
from orchestrator.slots.canaries import Canaries
from orchestrator.storage.tables import Attempt, Event, Job, Slot

MINUTE = timedelta(minutes=1)


@pytest.fixture
def lab(desk) -> Canaries:
    """Canaries that are started without a pause."""
    settings = desk.settings.model_copy(update={"canary_pauses": (timedelta(0),)})
    return Canaries(settings, desk.database, desk.store, desk.submission)


def _spec(desk: Desk, **facts) -> CanarySpec:
    golden = desk.file("golden.jsonl", '{"question": "你好", "answer": "4"}\n'.encode())
    spec = {"model": "qwen", "kcore": desk.stored("kcore"), "prompts": desk.file(), "golden": golden, **facts}
    return CanarySpec.model_validate(spec)


def _suspected(desk: Desk, slot: str = "g0") -> str:
    with desk.database.write() as session:
        slot_id = a_slot(session, slot).id
        service.suspect(session, slot_id, worker=WORKER, reason="card 1 is gone", now=now())
    return slot_id


def _slot(desk: Desk, slot_id: str = "lab1.g0") -> Slot:
    with desk.database.read() as session:
        return session.get_one(Slot, slot_id)


def _canaries(desk: Desk) -> list[Job]:
    with desk.database.read() as session:
        return list(session.scalars(select(Job).where(Job.kind == "canary").order_by(Job.id)))


def _turn(desk: Desk) -> list[str]:
    """The slots that the next turn of the dispatcher gives work."""
    return [bell.queue for bell in take_turn(desk.database, desk.store, lease=MINUTE, lost_after=MINUTE)]


def _end(desk: Desk, failure=None) -> None:
    """Let the canary that is placed run to its end."""
    with desk.database.write() as session:
        attempt = session.scalars(select(Attempt).order_by(Attempt.id.desc())).first()
        assert claim(session, attempt)
        session.refresh(attempt)
        finish(session, attempt, failure)


def test_what_is_registered_needs_its_files_and_jobs_no_more(desk, lab):
    registered = lab.register("r1", _spec(desk), by="alice")

    assert all(registered.spec[name]["digest"].startswith("sha256:") for name in ("kcore", "prompts", "golden"))
    assert (registered.release, registered.set_by) == ("r1", "alice")


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"model": "unknown"}, "model"),
        ({"kcore": {"digest": "sha256:" + "0" * 64}}, "kcore"),
        ({"kcore": {"job": 99, "artifact": "kcore"}}, "kcore"),
    ],
)
def test_a_canary_that_could_not_run_is_refused_with_its_field(desk, lab, facts, field):
    with pytest.raises(BadSpec) as refused:
        lab.register("r1", _spec(desk, **facts), by="alice")

    assert refused.value.field == field


def test_a_canary_needs_a_release(desk, lab):
    with pytest.raises(NotFound, match="no release r9"):
        lab.register("r9", _spec(desk), by="alice")


def test_a_quarantined_slot_takes_its_canary_and_no_other_job(desk, lab):
    lab.register("r1", _spec(desk), by="alice")
    slot = _suspected(desk)
    desk.submit(desk.infer())

    before = _turn(desk)
    lab.tend()

    assert before == []
    assert _turn(desk) == [slot]
    assert [job.state for job in _canaries(desk)] == [JobState.ASSIGNED]


def test_a_canary_that_passes_brings_its_slot_back_and_the_event_says_which_job_did(desk, lab):
    lab.register("r1", _spec(desk), by="alice")
    slot = _suspected(desk)
    lab.tend()
    _turn(desk)
    _end(desk)

    lab.tend()

    found = _slot(desk, slot)
    assert (found.service_state, found.quarantined_because) == (ServiceState.IN_SERVICE, None)
    with desk.database.read() as session:
        event = session.scalars(select(Event).where(Event.kind == "slot.resumed")).one()
    assert event.job_id == _canaries(desk)[0].id


def test_three_canaries_that_fail_leave_the_slot_to_people_with_its_evidence(desk, lab):
    lab.register("r1", _spec(desk), by="alice")
    slot = _suspected(desk)
    for _ in range(3):
        lab.tend()
        _turn(desk)
        _end(desk, TOOL)

    lab.tend()
    lab.tend()

    found = _slot(desk, slot)
    assert found.service_state is ServiceState.DRAINED
    assert found.quarantined_because["reason"] == "card 1 is gone"
    assert len(_canaries(desk)) == 3
    assert str(_canaries(desk)[2].id) in found.service_change["note"]


def test_a_slot_that_a_person_quarantined_is_left_alone(desk, lab):
    lab.register("r1", _spec(desk), by="alice")
    with desk.database.write() as session:
        service.quarantine(session, a_slot(session).id, by="alice", note=None, now=now())

    lab.tend()

    assert _canaries(desk) == []


def test_without_a_registered_canary_a_slot_waits_for_a_person(desk, lab):
    _suspected(desk)

    lab.tend()

    assert _canaries(desk) == []
    assert _slot(desk).service_state is ServiceState.QUARANTINED


def test_a_slot_whose_worker_is_away_gets_no_canary(desk, lab):
    lab.register("r1", _spec(desk), by="alice")
    slot = _suspected(desk)
    with desk.database.write() as session:
        presence.leave(session, slot, worker=WORKER, now=now())

    lab.tend()

    assert _canaries(desk) == []


def test_a_person_can_check_a_slot_in_service_too(desk, lab):
    lab.register("r1", _spec(desk), by="alice")
    with desk.database.write() as session:
        slot = a_slot(session, "g5").id

    lab.start(slot)

    assert _turn(desk) == ["lab1.g5"]


def test_a_failed_canary_is_not_tried_again_by_itself(desk, lab):
    lab.register("r1", _spec(desk), by="alice")
    _suspected(desk)
    lab.tend()
    _turn(desk)

    _end(desk, FAULT)

    assert [job.state for job in _canaries(desk)] == [JobState.FAILED]


def test_the_history_of_a_slot_lists_its_own_canaries_only(desk, lab):
    lab.register("r1", _spec(desk), by="alice")
    for name in ("g1", "g2"):
        _suspected(desk, name)
    lab.tend()

    with desk.database.read() as session:
        found = canaries.runs(session)

    assert {slot: len(runs) for slot, runs in found.items()} == {"lab1.g1": 1, "lab1.g2": 1}
