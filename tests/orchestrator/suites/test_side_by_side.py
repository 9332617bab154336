"""A/B runs: one reservation, one order, one verdict; on both databases."""

import pytest
from builders.databases import both_databases, nothing_written
from builders.desk import Desk, quantize
from builders.lifecycle import TOOL, now
from builders.suites import Outcome, SuiteDesk
from pydantic import ValidationError
from sqlalchemy import select

from orchestrator.errors import AlreadyReserved, BadSpec, NotFound
from orchestrator.model.ab import AbRequest
from orchestrator.model.reservations import ReservationRequest
from orchestrator.model.states import JobState
from orchestrator.model.suites import JobRole
from orchestrator.slots import reservations
from orchestrator.storage.tables import Job, Reservation, SuiteRun
from orchestrator.suites import runs
from orchestrator.suites.side_by_side import AbRuns

pytestmark = both_databases


@pytest.fixture
def lab(desk: Desk) -> SuiteDesk:
    return SuiteDesk(desk)


@pytest.fixture
def jobs(lab: SuiteDesk) -> tuple[int, int]:
    """Two inferences with different kernel images, which ran on lab1.g0 and lab1.g1."""
    images = [lab.desk.stored("kcore", content) for content in (b"old", b"new")]
    made = [
        lab.desk.submit(lab.desk.infer(kcore=image), placement={"slot": slot})
        for image, slot in zip(images, ("g0", "g1"), strict=True)
    ]
    lab.work()
    return made[0], made[1]


def _start(lab: SuiteDesk, **asked) -> int:
    ab = AbRuns(lab.desk.settings, lab.desk.database, lab.desk.store)
    made = ab.start(AbRequest.model_validate({"blocks": 2, **asked}), by="alice")
    with lab.desk.database.read() as session:
        return runs.run_of_batch(session, made.batch).id


def _sides(kcores: dict[str, float], drift: float = 0.0):
    """A world in which each kernel image has its throughput, and every run is faster than the one before."""
    ran = []

    def measure(job: Job, _slot: str) -> Outcome:
        ran.append(job.id)
        return Outcome(kcores[job.spec["kcore"]["digest"]] * (1 + drift * len(ran)) + 0.001 * (len(ran) % 3))

    return measure


def _images(lab: SuiteDesk, jobs: tuple[int, int]) -> tuple[str, str]:
    first, second = (lab.desk.job(job).spec["kcore"]["digest"] for job in jobs)
    return first, second


def test_both_sides_run_in_one_reservation_of_the_card_group_in_the_order_abba(lab, jobs):
    old, new = _images(lab, jobs)
    lab.world = _sides({old: 100.0, new: 90.0}, drift=0.02)

    run_id = _start(lab, a=jobs[0], b=jobs[1], blocks=4)
    with lab.desk.database.read() as session:
        reserved = session.scalars(select(Reservation)).one()
        assert (reserved.project, reserved.ended_at) == ("ab", None)
    lab.work()

    run = lab.row(run_id)
    ran = [(each.role, each.job.state) for each in lab.jobs(run_id)]
    block = [JobRole.A, JobRole.B, JobRole.B, JobRole.A]
    assert ran == [(role, JobState.SUCCEEDED) for role in block * 4]
    with lab.desk.database.read() as session:
        assert session.scalars(select(Reservation)).one().ended_at is not None
        ordered = session.scalars(select(Job).where(Job.project == "ab")).all()
        slots = {job.id: job.demand for job in ordered}
        assert {job.spec["require"] for job in ordered} == {"report"}
    assert len(set(slots.values())) == 1
    (metric,) = run.report["metrics"]
    assert (run.verdict, metric["verdict"]) == ("worse", "worse")
    assert metric["relative"] == pytest.approx(-0.1, abs=0.02)
    assert metric["drift"] == pytest.approx(0.017, abs=0.005)
    assert "kcore" in [each["field"] for each in run.report["differences"]]


def test_a_drift_alone_is_the_same(lab, jobs):
    lab.world = _sides(dict.fromkeys(_images(lab, jobs), 100.0), drift=0.02)

    run_id = _start(lab, a=jobs[0], b=jobs[1], blocks=5)
    lab.work()

    assert lab.row(run_id).verdict == "same"


def test_a_run_that_fails_ends_the_order_and_gives_the_card_group_back(lab, jobs):
    lab.world = lambda _job, _slot: Outcome(failure=TOOL)

    run_id = _start(lab, a=jobs[0], b=jobs[1])
    lab.work()

    run = lab.row(run_id)
    assert (run.verdict, run.ended_at is not None) == ("missing", True)
    with lab.desk.database.read() as session:
        assert session.scalars(select(Reservation)).one().ended_at is not None


def test_a_card_group_that_is_reserved_is_refused_and_nothing_is_written(lab, jobs):
    request = ReservationRequest(slots=("lab1.g0",), seconds=100)
    with lab.desk.database.admission() as (session, _):
        reservations.reserve(session, request, by="bob", now=now())

    with nothing_written(lab.desk.database), pytest.raises(AlreadyReserved):
        _start(lab, a=jobs[0], b=jobs[1])


@pytest.mark.parametrize(
    ("asked", "error", "field"),
    [
        ({"b": 99}, NotFound, "b"),
        ({"slot": "lab1.g7"}, BadSpec, "slot"),
        ({"slot": "g0"}, ValidationError, None),
        ({"b": 1}, ValidationError, None),
        ({"blocks": 1}, ValidationError, None),
        ({"gates": {"fan_speed": {}}}, BadSpec, "gates.fan_speed.direction"),
    ],
)
def test_what_cannot_be_compared_side_by_side_is_refused_with_its_field(lab, jobs, asked, error, field):
    with nothing_written(lab.desk.database), pytest.raises(error) as refused:
        _start(lab, **{"a": jobs[0], "b": jobs[1], **asked})

    assert getattr(refused.value, "field", None) == field


def test_a_job_of_another_kind_and_one_that_never_ran_are_refused(lab, jobs):
    build = lab.desk.submit(quantize())
    waiting = lab.desk.submit(lab.desk.infer(), placement={"slot": "g5", "wait_for_slot": True})

    with pytest.raises(BadSpec, match="name two jobs of kind infer"):
        _start(lab, a=jobs[0], b=build)
    with pytest.raises(BadSpec, match="ran nowhere yet"):
        _start(lab, a=waiting, b=jobs[0])
    with lab.desk.database.read() as session:
        assert session.scalars(select(SuiteRun.id)).all() == []
