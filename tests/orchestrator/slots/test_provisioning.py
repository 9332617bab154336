"""Asking for a host to be set up: what is refused, what it waits for, and which slots it may have."""

from datetime import timedelta

import pytest
import yaml
from builders.databases import at_once, nothing_written
from builders.desk import Desk, request_of
from builders.lifecycle import WORKER, a_running_attempt, a_slot, claim, now
from builders.rows import PROFILE, PROFILE_NAME
from pydantic import ValidationError
from sqlalchemy import select
from sqlalchemy.orm import Session

from orchestrator.dispatcher.turn import take_turn
from orchestrator.errors import BadSpec, IllegalTransition, NotFound, PathRefused
from orchestrator.jobs import lifecycle
from orchestrator.model.provision import ProvisionRequest
from orchestrator.model.states import JobState, ServiceState
from orchestrator.scheduling import explanation
from orchestrator.scheduling.placement.explain import WaitsFor
from orchestrator.slots import service
from orchestrator.slots.provisioning import Provisioning
from orchestrator.storage.tables import Attempt, Job, Slot, Token
from orchestrator.submission.idempotency import Idempotency

MINUTE = timedelta(minutes=1)
GROUPS = [f"g{index}" for index in range(8)]


@pytest.fixture
def desk(desk: Desk, database) -> Desk:
    with database.write() as session:
        for name in (*GROUPS, "cpu0"):
            a_slot(session, name)
    return desk


@pytest.fixture
def provisioning(desk) -> Provisioning:
    return Provisioning(desk.settings, desk.database, desk.submission)


def _request(desk: Desk, **facts) -> ProvisionRequest:
    asked = {
        "packages": str(desk.files / "packages"), "root": str(desk.files / "root"), "release": "r2",
        "profile": PROFILE_NAME, **facts,
    }  # fmt: skip
    return ProvisionRequest.model_validate(asked)


def _ask(desk: Desk, provisioning: Provisioning, host: str = "lab1", **facts) -> int:
    (job,) = provisioning.start(host, _request(desk, **facts), by="alice").jobs
    return job


def _take_over(session: Session, slot_id: str, job_id: int | None) -> service.Before:
    return service.take_over(
        session, slot_id, by="alice", note="set up", reason="not set up to its end", job_id=job_id, attempt_id=1,
        now=now(),
    )  # fmt: skip


def _turn(desk: Desk) -> list[str]:
    """The slots that the next turn of the dispatcher gives work, by their leads."""
    return [bell.queue for bell in take_turn(desk.database, desk.store, lease=MINUTE, lost_after=MINUTE)]


def _held_by(desk: Desk, job_id: int) -> list[str]:
    with desk.database.read() as session:
        return list(session.scalars(select(Attempt.slot_ids).where(Attempt.job_id == job_id)).one())


def test_it_gets_all_groups_of_its_host_and_of_no_other(desk, provisioning):
    with desk.database.write() as session:
        for name in GROUPS:
            a_slot(session, name, host="lab2")

    job = _ask(desk, provisioning, "lab2")

    assert _turn(desk) == ["lab2.g0"]
    assert _held_by(desk, job) == [f"lab2.{name}" for name in GROUPS]


@pytest.mark.parametrize("arrow", [service.drain, service.quarantine])
def test_it_gets_groups_that_are_out_of_service_and_nobody_else_does(desk, provisioning, arrow):
    with desk.database.write() as session:
        for name in GROUPS:
            arrow(session, f"lab1.{name}", by="bob", note=None, now=now())
    desk.submit(desk.infer())
    before = _turn(desk)

    job = _ask(desk, provisioning)

    assert before == []
    assert _turn(desk) == ["lab1.g0"]
    assert len(_held_by(desk, job)) == 8


def test_it_waits_for_what_runs_there_and_says_so(desk, provisioning):
    with desk.database.write() as session:
        busy = a_running_attempt(session, slot=session.get_one(Slot, "lab1.g5")).job_id

    job = _ask(desk, provisioning)

    assert _turn(desk) == []
    with desk.database.read() as session:
        told = explanation.explanation(session, job, now=now(), lost_after=MINUTE, aging=MINUTE)
    reasons = {reason.kind: reason for reason in told.reasons}
    assert reasons[WaitsFor.SLOT_BUSY].job_id == busy
    assert reasons[WaitsFor.GATHERING].count == 7


def test_a_dry_run_takes_a_seat_and_leaves_the_groups_to_others(desk, provisioning):
    job = _ask(desk, provisioning, dry_run=True)

    assert _turn(desk) == ["lab1.cpu0"]
    assert _held_by(desk, job) == ["lab1.cpu0"]


def test_a_host_is_set_up_once_at_a_time(desk, provisioning):
    first = _ask(desk, provisioning)

    with pytest.raises(IllegalTransition, match=f"job {first} is setting up lab1 already"):
        _ask(desk, provisioning)
    looked = _ask(desk, provisioning, dry_run=True)
    with desk.database.write() as session:
        lifecycle.cancel(session, first, by=None, now=now())

    assert _ask(desk, provisioning) > looked


def test_two_that_are_asked_for_at_once_never_have_the_host_together(desk, provisioning):
    def ask() -> int | None:
        try:
            return _ask(desk, provisioning)
        except IllegalTransition:
            return None

    asked = at_once(ask, ask)

    assert any(asked)
    assert _turn(desk) == ["lab1.g0"]


def test_one_key_sets_it_up_once(desk, provisioning, database):
    with database.write() as session:
        session.add(Token(id=1, name="t", sha256="x", scopes=["admin"], created_at=now()))
    key = Idempotency(1, "k", "f")

    first, again = (provisioning.start("lab1", _request(desk), by="alice", idempotency=key) for _ in range(2))

    assert (again.jobs, again.replayed) == (first.jobs, True)


@pytest.mark.parametrize(
    ("facts", "field"),
    [
        ({"profile": "unknown"}, "profile"),
        ({"steps": ["engin"]}, "steps"),
        ({"steps": ["driver"], "driver": False}, "steps"),
    ],
)
def test_what_does_not_fit_is_refused_with_its_field(desk, provisioning, facts, field):
    with pytest.raises(BadSpec) as refused:
        _ask(desk, provisioning, **facts)

    assert refused.value.field == field


@pytest.mark.parametrize("field", ["packages", "root"])
@pytest.mark.parametrize("path", ["/etc", "{files}/../../etc", "{files}/out/etc"])
def test_folders_outside_the_allowed_roots_are_refused(desk, provisioning, field, path):
    (desk.files / "out").symlink_to("/")

    with pytest.raises(PathRefused) as refused:
        _ask(desk, provisioning, **{field: path.format(files=desk.files)})

    assert refused.value.field == field


def test_a_profile_that_says_nothing_of_it_is_refused(desk, tmp_path):
    told = PROFILE.model_dump(mode="json") | {"provision": None}
    (tmp_path / "bare.yaml").write_text(yaml.safe_dump(told))
    settings = desk.settings.model_copy(update={"profile_dirs": (tmp_path,)})

    with pytest.raises(BadSpec, match="has no provision"):
        _ask(desk, Provisioning(settings, desk.database, desk.submission), profile="bare")


def test_an_unknown_host_is_not_found(desk, provisioning):
    with pytest.raises(NotFound, match="lab9"):
        _ask(desk, provisioning, "lab9")


@pytest.mark.parametrize(("dry_run", "told"), [(False, "1 registered card groups"), (True, "no CPU seat")])
def test_a_host_without_the_slots_for_it_is_refused(desk, provisioning, dry_run, told):
    with desk.database.write() as session:
        a_slot(session, "g0", host="lab2")

    with pytest.raises(BadSpec, match=told) as refused:
        _ask(desk, provisioning, "lab2", dry_run=dry_run)

    assert refused.value.field == "host"


def test_half_a_chassis_is_set_up_without_the_groups_that_it_does_not_have(desk, provisioning):
    with desk.database.write() as session:
        for name in ("g0", "g1", "g2", "g3"):
            a_slot(session, name, host="lab2")

    job = _ask(desk, provisioning, "lab2", without=["g4", "g5", "g6", "g7"])
    _turn(desk)

    assert _held_by(desk, job) == ["lab2.g0", "lab2.g1", "lab2.g2", "lab2.g3"]


def test_a_group_that_is_left_out_must_not_run(desk, provisioning):
    with pytest.raises(BadSpec, match="stop the workers of g7") as refused:
        _ask(desk, provisioning, without=["g7"])

    assert refused.value.field == "without"


@pytest.mark.parametrize("without", [["g8"], ["cpu0"], [f"g{n}" for n in range(8)]])
def test_only_card_groups_can_be_left_out_and_not_all_of_them(desk, without):
    with pytest.raises(ValidationError, match="card group"):
        _request(desk, without=without)


def test_it_can_not_be_handed_in_as_any_other_job(desk):
    spec = _request(desk).spec("lab1").model_dump(mode="json")

    with pytest.raises(ValidationError, match="provision"):
        request_of(spec)


def test_it_is_asked_for_anew_and_not_retried(desk, provisioning):
    job = _ask(desk, provisioning)
    with desk.database.write() as session:
        lifecycle.cancel(session, job, by=None, now=now())

    with pytest.raises(IllegalTransition, match="tx81 provision"):
        desk.submission.retry(job)


def test_nothing_can_take_an_output_of_it(desk, provisioning):
    job = _ask(desk, provisioning)

    with pytest.raises(BadSpec, match="a provision job"):
        desk.submit(desk.infer(kcore={"job": job, "artifact": "kcore"}))


def test_when_its_worker_dies_nobody_gets_in_between_and_it_goes_on(desk, provisioning):
    job = _ask(desk, provisioning)
    _turn(desk)
    with desk.database.write() as session:
        attempt = session.scalars(select(Attempt)).one()
        assert claim(session, attempt)
        for slot_id in attempt.slot_ids:
            _take_over(session, slot_id, job)
    desk.submit(desk.infer())

    with desk.database.write() as session:
        lifecycle.lose(session, attempt.id, now=now(), why="its worker died", max_attempts=3)
    with desk.database.read() as session:
        groups = session.scalars(select(Slot).where(Slot.kind == "card_group", Slot.host == "lab1")).all()

    assert {slot.service_state for slot in groups} == {ServiceState.DRAINED}
    assert {slot.quarantined_because["reason"] for slot in groups} == {"not set up to its end"}
    assert _turn(desk) == ["lab1.g0"]
    with desk.database.read() as session:
        assert session.get_one(Job, job).state is JobState.ASSIGNED


def test_a_slot_that_is_handed_back_is_what_it_was(desk):
    with desk.database.write() as session:
        service.suspect(session, "lab1.g0", worker=WORKER, reason="card 1 is gone", now=now())
        service.drain(session, "lab1.g1", by="bob", note="fan", now=now())
        before = {name: _take_over(session, f"lab1.{name}", None) for name in ("g0", "g1", "g2")}
        for name, stood in before.items():
            service.hand_back(session, f"lab1.{name}", stood, note="nothing changed", job_id=None, now=now())

    with desk.database.read() as session:
        g0, g1, g2 = (session.get_one(Slot, f"lab1.{name}") for name in ("g0", "g1", "g2"))
    assert (g0.service_state, g0.quarantined_because["reason"]) == (ServiceState.QUARANTINED, "card 1 is gone")
    assert (g1.service_state, g1.service_change["note"]) == (ServiceState.DRAINED, "fan")
    assert (g2.service_state, g2.quarantined_because) == (ServiceState.IN_SERVICE, None)


def test_a_refused_one_leaves_nothing(desk, provisioning):
    with nothing_written(desk.database), pytest.raises(PathRefused):
        _ask(desk, provisioning, root="/etc")
