"""Runs of a suite and the cases that follow from them, from the first bad run to the end."""

from datetime import timedelta

import pytest
from builders.databases import both_databases
from builders.lifecycle import a_job, assign, claim, now, owner_of
from builders.suites import Outcome, SuiteDesk, by_slot
from sqlalchemy import select

from orchestrator.jobs.lifecycle import Ending
from orchestrator.model.baselines import BaselineOrder
from orchestrator.model.cases import AcceptOrder, CaseState
from orchestrator.model.failures import Failure, FailureKind, Suspicion
from orchestrator.model.states import ServiceState
from orchestrator.slots import doubt
from orchestrator.storage.tables import Attempt, Case, CaseSeries, Slot
from orchestrator.suites import baselines, cases
from workers.attempt import report
from workers.attempt.collect import Results

CELL = "model=qwen,prompts=basic"
WRONG = Outcome(answer="五")


@pytest.fixture
def lab(desk) -> SuiteDesk:
    """A suite of one cell that has a baseline."""
    lab = SuiteDesk(desk)
    lab.apply()
    lab.accept(lab.run().id)
    return lab


def _cases(lab: SuiteDesk) -> list[Case]:
    with lab.desk.database.read() as session:
        return list(session.scalars(select(Case).order_by(Case.id)))


@both_databases
def test_a_regression_is_one_case_over_all_its_runs_and_closes_after_three_good_ones(lab):
    good = lab.run().id
    lab.world = lambda _job, _slot: WRONG
    bad = lab.run().id
    lab.run()

    (case,) = _cases(lab)
    assert (case.state, case.outcome) == (CaseState.CONFIRMED, "model_or_toolchain")
    assert (case.last_good_run, case.first_bad_run) == (good, bad)
    with lab.desk.database.read() as session:
        assert [(row.cell, row.metric) for row in session.scalars(select(CaseSeries))] == [(CELL, "answers")]

    lab.world = lambda _job, _slot: Outcome()
    states = []
    for _ in range(3):
        lab.run()
        states.append(_cases(lab)[0].state)
    assert states == ["fix_seen", "fix_seen", "closed"]


def test_a_false_alarm_opens_no_case(lab):
    seen = []
    lab.world = lambda job, _slot: WRONG if seen.append(job.id) or len(seen) <= 3 else Outcome()

    assert lab.run().false_alarms == 1
    assert _cases(lab) == []


def test_an_accepted_case_makes_the_verdict_known_until_its_date(lab):
    lab.world = lambda _job, _slot: WRONG
    lab.run()
    (case,) = _cases(lab)
    with lab.desk.database.write() as session:
        order = AcceptOrder(until=now() + timedelta(days=1), reason="fix is ordered")
        cases.accept(session, case.id, order, by="alice", now=now())

    run = lab.run()

    assert (run.verdict, run.report["cells"][CELL]["verdict"]) == ("known", "known")
    assert f"case {case.id} is known" in run.why
    assert _cases(lab)[0].state == CaseState.ACCEPTED


def test_the_case_of_a_bad_card_closes_when_a_canary_has_shown_that_its_results_are_worth_nothing(lab):
    lab.world = by_slot({"lab1.g1": WRONG})
    run = lab.run()
    (case,) = _cases(lab)
    assert (case.state, case.outcome, case.change) == (
        CaseState.CONFIRMED, "card", {"slots": {"before": [], "after": ["lab1.g1"]}},
    )  # fmt: skip

    _canary_fails(lab, "lab1.g1")
    cases.tend(lab.desk.database)

    assert run.report["cells"][CELL]["outcome"] == "card"
    assert _cases(lab)[0].state == CaseState.CLOSED
    with lab.desk.database.read() as session:
        last = cases.case(session, case.id).entries[-1]
    assert (last.rule, "canary_failed on lab1.g1" in last.note) == ("doubt", True)


@both_databases
def test_answers_that_are_wrong_twice_on_one_card_group_alone_put_its_other_results_in_doubt(lab):
    before = {each.job.id for each in lab.jobs(lab.run().id)}
    lab.world = by_slot({"lab1.g1": WRONG})
    run = lab.run()
    with lab.desk.database.read() as session:
        rows = select(Attempt.job_id).where(Attempt.slot_id == "lab1.g1")
        there = set(session.scalars(rows))
        doubted = {facts.job_id for facts in doubt.doubts(session, limit=100)}

    again = {each.job.id for each in lab.jobs(run.id) if each.role == "confirm_same"}
    assert again <= there
    assert doubted == there - again
    assert doubted & before


def test_a_card_group_that_is_only_slow_puts_nothing_in_doubt(desk):
    lab = SuiteDesk(desk)
    lab.apply(gates={"output_throughput": {"alpha": 0.2}}, answers="report", repeats=4, budget=4)
    lab.accept(lab.run().id)
    _take_out(lab, "lab1.g0")
    lab.world = by_slot({"lab1.g1": Outcome(throughput=50)}, Outcome(throughput=100))
    run_id = lab.start()
    while lab.turn():
        pass
    _take_out(lab, None)
    lab.work()

    assert lab.row(run_id).report["cells"][CELL]["outcome"] == "card"
    with lab.desk.database.read() as session:
        assert doubt.doubts(session, limit=100) == []


def _take_out(lab: SuiteDesk, slot: str | None) -> None:
    """Let no job run on that slot, and on all others."""
    with lab.desk.database.write() as session:
        for row in session.scalars(select(Slot)):
            row.service_state = ServiceState.DRAINED if row.id == slot else ServiceState.IN_SERVICE


def _canary_fails(lab: SuiteDesk, slot: str) -> None:
    wrong = Failure(kind=FailureKind.WRONG_ANSWERS, reason="1 of 2 answers are not the golden ones")
    with lab.desk.database.write() as session:
        attempt_id = assign(session, a_job(session, kind="canary").id, slot)
        assert claim(session, session.get_one(Attempt, attempt_id))
        owner = owner_of(session, attempt_id)
    ending = Ending(wrong, 1.0, None, 0, Suspicion(reason="the canary failed", blames_job=False))
    report.finish(lab.desk.database, attempt_id, ending, Results(), owner=owner, max_attempts=1)


def test_a_baseline_is_made_of_what_a_run_has_measured_of_a_cell(lab):
    lab.world = by_slot({}, WRONG)
    run = lab.run().id
    measured = sorted(each.job.id for each in lab.jobs(run) if each.role == "measure")
    with lab.desk.database.write() as session:
        (old,) = baselines.baselines(session, limit=9)
        wanted = {"suite": "nightly", "cell": CELL, "run": run, "reason": "the prompt was wrong"}
        order = BaselineOrder(**wanted, replaces=old.baseline.id)
        made = baselines.order(session, order, by="alice", now=now())
        assert baselines.baseline(session, made.id).jobs == tuple(measured)

    assert lab.run().verdict == "same"
