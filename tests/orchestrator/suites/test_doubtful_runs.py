"""Suites are run again when the results of their latest run come into doubt."""

import pytest
from builders.databases import both_databases
from builders.lifecycle import now
from builders.suites import SuiteDesk
from sqlalchemy import select, update

from orchestrator.model.doubts import DoubtReason
from orchestrator.model.states import ServiceState
from orchestrator.slots import doubt
from orchestrator.storage.tables import Event, Slot, Suite, SuiteRun
from orchestrator.suites.doubtful_runs import RunsInDoubt
from orchestrator.suites.runs import RunOrigin

pytestmark = both_databases


@pytest.fixture
def lab(desk) -> SuiteDesk:
    """A suite with a baseline that a schedule has run once since."""
    lab = SuiteDesk(desk)
    lab.apply()
    lab.accept(lab.run().id)
    with desk.database.write() as session:
        for slot in ("lab1.g0", "lab1.g1"):
            session.get_one(Slot, slot).service_state = ServiceState.DRAINED
    with desk.database.write() as session:
        session.get_one(Slot, "lab1.g1").service_state = ServiceState.IN_SERVICE
    lab.start(origin=RunOrigin("night", schedule="night"))
    lab.work()
    with desk.database.write() as session:
        session.get_one(Slot, "lab1.g0").service_state = ServiceState.IN_SERVICE
    return lab


def _doubt(lab: SuiteDesk) -> None:
    """The cards on which the scheduled run has measured turn out to be bad."""
    with lab.desk.database.write() as session:
        session.get_one(Slot, "lab1.g1").service_state = ServiceState.QUARANTINED
        doubt.doubt_since_last_proof(session, "lab1.g1", DoubtReason.CANARY_FAILED, {"reason": "r"}, now())


def _runs(lab: SuiteDesk) -> list[SuiteRun]:
    with lab.desk.database.read() as session:
        return list(session.scalars(select(SuiteRun).order_by(SuiteRun.id)))


def _tend(lab: SuiteDesk) -> int:
    return RunsInDoubt(lab.desk.database, lab.runs).tend()


def test_a_scheduled_run_that_is_in_doubt_is_run_again_once_and_on_other_cards(lab):
    assert _tend(lab) == 0
    _doubt(lab)

    assert [_tend(lab), _tend(lab)] == [1, 0]
    lab.work()
    assert _tend(lab) == 0

    *_, doubted, again = _runs(lab)
    assert (again.started_by, len(_runs(lab))) == ("doubt", 3)
    with lab.desk.database.read() as session:
        event = session.scalars(select(Event).where(Event.kind == "suite.run_again")).one()
    assert (event.data["run"], event.data["instead_of"]) == (again.id, doubted.id)


def test_a_run_that_a_person_started_is_not_run_again(lab):
    with lab.desk.database.write() as session:
        session.execute(update(SuiteRun).values(schedule=None))
    _doubt(lab)

    assert _tend(lab) == 0


def test_an_older_run_and_a_removed_suite_are_not_run_again(lab):
    _doubt(lab)
    lab.start()
    assert _tend(lab) == 0
    with lab.desk.database.write() as session:
        session.execute(update(Suite).values(removed_at=now()))
        session.execute(update(SuiteRun).values(purpose="aa").where(SuiteRun.id == _runs(lab)[-1].id))

    assert _tend(lab) == 0
