"""The history of a series, from runs of a suite."""

import pytest
from builders.databases import both_databases
from builders.lifecycle import now
from builders.suites import Outcome, SuiteDesk, by_slot

from orchestrator.errors import NotFound
from orchestrator.model.doubts import DoubtReason
from orchestrator.model.marks import MarkKind
from orchestrator.slots import doubt, service
from orchestrator.suites.history import History, history

pytestmark = both_databases

CELL = "model=qwen,prompts=basic"


@pytest.fixture
def lab(desk) -> SuiteDesk:
    lab = SuiteDesk(desk)
    lab.apply(confirm=False)
    return lab


def _history(lab: SuiteDesk, metric: str = "output_throughput", limit: int = 100) -> History:
    with lab.desk.database.read() as session:
        return history(session, "nightly", CELL, metric, limit=limit)


def _runs(lab: SuiteDesk, *values: float) -> list[int]:
    found = []
    for value in values:
        lab.world = lambda _job, _slot, value=value: Outcome(throughput=value)
        found.append(lab.run().id)
    return found


def test_every_run_is_a_point_and_a_change_of_level_is_found_with_its_size(lab):
    runs = _runs(lab, 100, 101, 100, 101, 80, 81, 80)

    found = _history(lab)

    assert [(point.run, point.count) for point in found.points] == [(run, 3) for run in runs]
    assert found.unit == "tokens/s"
    assert [(each.start, each.end) for each in found.segments] == [(0, 4), (4, 7)]
    assert found.segments[1].change == pytest.approx(-0.2, abs=0.02)
    assert [point.value for point in _history(lab, limit=2).points] == [81, 80]


def test_what_happened_meanwhile_is_marked(lab):
    (first,) = _runs(lab, 100)
    lab.accept(first)
    with lab.desk.database.write() as session:
        service.quarantine(session, "lab1.g0", by="bob", note="cards swapped", now=now())
        service.quarantine(session, "lab1.cpu0", by="bob", note="not this one", now=now())
    lab.world = lambda _job, _slot: Outcome(answer="五")
    lab.run()

    marks = {(mark.kind, mark.what) for mark in _history(lab).marks}
    answers = {mark.kind for mark in _history(lab, "answers").marks}

    assert (MarkKind.BASELINE, "baseline 1 set by alice: good") in marks
    assert (MarkKind.SLOT, "lab1.g0 quarantined: cards swapped") in marks
    assert not any("not this one" in what for _, what in marks)
    assert MarkKind.CASE in answers


@pytest.mark.parametrize("metric", ["output_throughput", "answers"])
def test_a_card_group_all_of_whose_results_are_in_doubt_is_marked(lab, metric):
    lab.accept(lab.run().id)
    lab.run()
    with lab.desk.database.write() as session:
        doubt.doubt_since_last_proof(session, "lab1.g0", DoubtReason.CANARY_FAILED, {"reason": "hot"}, now())

    assert any(mark.kind is MarkKind.SLOT and "lab1.g0 doubted" in mark.what for mark in _history(lab, metric).marks)


def test_results_in_doubt_are_no_points(lab):
    lab.world = by_slot({"lab1.g0": Outcome(throughput=50)})
    lab.run()
    with lab.desk.database.write() as session:
        doubt.doubt_since_last_proof(session, "lab1.g0", DoubtReason.CANARY_FAILED, {"reason": "r"}, now())

    (point,) = _history(lab).points

    assert (point.value, point.count < 3) == (100, True)


def test_the_series_of_answers_counts_those_that_changed(lab):
    lab.accept(lab.run().id)
    lab.run()
    lab.world = lambda _job, _slot: Outcome(answer="五")
    lab.run()

    assert [(point.value, point.outcome) for point in _history(lab, "answers").points] == [(0, "good"), (3, "worse")]


def test_a_series_that_no_run_has_measured_is_not_found(lab):
    _runs(lab, 100)

    for metric in ("ttft_seconds", "answers"):
        with pytest.raises(NotFound, match="no run of suite nightly has measured"):
            _history(lab, metric)
