"""What cells are held to: the baseline that was set, or good runs after it."""

import itertools

import pytest
from builders.databases import both_databases
from builders.desk import Desk
from builders.results import in_doubt
from builders.suites import Outcome, SuiteDesk

CELL = "model=qwen,prompts=basic"
GATE = {"output_throughput": {"effect": 0.05, "alpha": 0.05}}


@pytest.fixture
def lab(desk: Desk) -> SuiteDesk:
    return SuiteDesk(desk)


def measures(lab: SuiteDesk, middle: float) -> None:
    steps = itertools.count()
    lab.world = lambda _job, _slot: Outcome(middle * (1 + next(steps) / 10_000))


def before_of(run) -> float:
    """The middle of what the cell of a run was compared with."""
    metric = next(
        each for each in run.report["cells"][CELL]["comparison"]["metrics"] if each["metric"] == "output_throughput"
    )
    return sorted(metric["before"])[len(metric["before"]) // 2]


@pytest.mark.parametrize(
    ("rule", "expected"), [("set", 100.0), ("previous_good", 103.0), ({"median_of_good": 3}, 102.0)]
)
def test_each_rule_holds_a_run_to_other_runs(lab, rule, expected):
    lab.apply(gates=GATE, repeats=4, baseline=rule)
    measures(lab, 100)
    lab.accept(lab.run().id)
    for middle in (101, 102, 103):
        measures(lab, middle)
        assert lab.run().verdict == "same"

    run = lab.run()

    assert round(before_of(run)) == expected
    assert run.report["cells"][CELL]["baseline"] is not None


@both_databases
def test_a_bad_run_and_one_in_doubt_are_no_reference(lab):
    lab.apply(gates=GATE, repeats=4, baseline="previous_good")
    measures(lab, 100)
    lab.accept(lab.run().id)
    measures(lab, 101)
    good = lab.run()
    measures(lab, 80)
    assert lab.run().verdict == "worse"
    measures(lab, 101)
    after_bad = lab.run()
    with lab.desk.database.write() as session:
        for run in (good, after_bad):
            for each in lab.jobs(run.id):
                in_doubt(session, each.job.id)

    assert round(before_of(after_bad)) == 101
    assert round(before_of(lab.run())) == 100


def test_without_enough_good_runs_the_baseline_itself_is_meant(lab):
    lab.apply(gates=GATE, repeats=4, baseline={"median_of_good": 3})
    measures(lab, 100)
    lab.accept(lab.run().id)
    measures(lab, 102)
    lab.run()

    assert round(before_of(lab.run())) == 100


@both_databases
def test_without_a_baseline_no_view_is_ever_a_pass(lab):
    lab.apply(gates=GATE, repeats=4, baseline="previous_good")
    measures(lab, 100)

    assert [lab.run().verdict for _ in range(2)] == ["missing", "missing"]
