"""Suites applied, run and judged, on both databases."""

import itertools

import pytest
from builders.databases import both_databases, nothing_written
from builders.desk import Desk
from builders.lifecycle import FAULT, now
from builders.rows import a_release
from builders.suites import Outcome, SuiteDesk, by_slot
from sqlalchemy import select, update

from orchestrator.errors import BadSpec, IllegalTransition, NotFound, PathRefused
from orchestrator.model.doubts import DoubtReason
from orchestrator.model.schedules import ScheduleDocument
from orchestrator.model.states import JobState, ServiceState
from orchestrator.model.suites import CellOutcome, JobRole, RunPurpose
from orchestrator.slots import doubt
from orchestrator.storage.tables import (
    Baseline,
    Batch,
    Delivery,
    Event,
    Job,
    NotificationTarget,
    Slot,
    Suite,
    SuiteVersion,
)
from orchestrator.suites import definitions, schedules
from orchestrator.suites.runs import RunOrigin

GATE = {"output_throughput": {"effect": 0.05, "alpha": 0.05}}
CELL = "model=qwen,prompts=basic"


@pytest.fixture
def lab(desk: Desk) -> SuiteDesk:
    return SuiteDesk(desk)


def _noise(middle: float):
    """Throughputs around a middle, never twice the same."""
    steps = itertools.cycle([-0.4, 0.1, 0.3, -0.2, 0.5, -0.1, 0.2, -0.3, 0.4, 0.05])
    return lambda: Outcome(middle + next(steps) + next(_fine))


_fine = (number * 1e-4 for number in itertools.count())


def _asking(prompts: dict) -> dict:
    return {"prompts": {"no": {"prompts": prompts}}}


def _events(lab: SuiteDesk, kind: str) -> list[dict]:
    with lab.desk.database.read() as session:
        return [event.data for event in session.scalars(select(Event).where(Event.kind == kind).order_by(Event.id))]


def _cell(run, key: str = CELL) -> dict:
    return run.report["cells"][key]


def _numbers(lab: SuiteDesk, run_id: int) -> dict[JobRole, int]:
    roles = [each.role for each in lab.jobs(run_id)]
    return {role: roles.count(role) for role in set(roles)}


# ── applying ──────────────────────────────────────────────────────────────────────────────────────────────────────────


@both_databases
def test_applying_the_same_suite_again_changes_nothing_and_a_change_is_a_new_version(lab):
    document = lab.document()
    first = lab.apply().digest

    with lab.desk.database.read() as session:
        (version,) = definitions.versions(session, "nightly")
    assert version.digest == first
    assert lab.apply(template=document.template.model_dump(mode="json")).digest == first
    assert lab.apply(template=document.template.model_dump(mode="json"), repeats=4).digest != first
    with lab.desk.database.read() as session:
        assert [each.document["repeats"] for each in definitions.versions(session, "nightly")] == [4, 3]


def test_a_file_is_stored_when_the_suite_is_applied_and_later_changes_of_it_do_not_count(lab):
    lab.apply()
    lab.desk.file(content="另一个\n".encode())

    lab.start()

    with lab.desk.database.read() as session:
        document = session.get_one(Suite, "nightly").document
        (digest,) = {job.spec["prompts"]["digest"] for job in session.scalars(select(Job))}
    assert document["matrix"]["prompts"]["basic"]["prompts"] == {"digest": digest}
    assert "你好" in lab.desk.store.path(digest).read_text()


@pytest.mark.parametrize(
    ("facts", "error", "field"),
    [
        ({"matrix": {"models": ["qwen", "gone"]}}, BadSpec, "matrix.models.1"),
        ({"matrix": {"releases": ["r1", "r9"]}}, BadSpec, "matrix.releases.1"),
        ({"matrix": _asking({"path": "/nowhere/p.txt"})}, PathRefused, "matrix.prompts.no.prompts.path"),
        ({"matrix": _asking({"digest": f"sha256:{'0' * 64}"})}, BadSpec, "matrix.prompts.no.prompts"),
        ({"matrix": {"slots": ["g0", "lab9.g0"]}}, BadSpec, "matrix.slots.1"),
        ({"matrix": {"slots": ["cpu0"]}}, BadSpec, "matrix.slots.0"),
        ({"matrix": {"backend_types": ["qwen2_7b_bf16", "odd"]}}, BadSpec, "matrix.backend_types.1"),
        ({"template": {"kcore": {"digest": f"sha256:{'0' * 64}"}}}, BadSpec, "template.kcore"),
        ({"template": {"kcore": {"job": 99, "artifact": "kcore"}}}, BadSpec, "template.kcore"),
        ({"matrix": {"exclude": [{"model": "other"}]}}, BadSpec, "matrix.exclude.0"),
        ({"matrix": {"exclude": [{"model": "qwen"}]}}, BadSpec, "matrix.exclude"),
        ({"repeats": 150, "max_jobs": 100}, BadSpec, "matrix"),
        ({"gates": {"fan_speed": {}}}, BadSpec, "gates.fan_speed.direction"),
        ({"gates": {"output_throughput": {"alpha": 0.0001}}}, BadSpec, "budget"),
        ({"matrix": {"options": {"big": {"groups": 8}}}}, BadSpec, "matrix.options.big.groups"),
    ],
)  # fmt: skip
def test_a_suite_that_cannot_run_is_refused_with_the_field_of_the_suite(lab, facts, error, field):
    document = lab.document(**facts)

    with nothing_written(lab.desk.database), pytest.raises(error) as refused:
        definitions.Definitions(lab.desk.settings, lab.desk.database, lab.desk.store).apply(document, by="alice")

    assert refused.value.field == field


@both_databases
def test_a_removed_suite_cannot_be_run_and_keeps_its_versions(lab):
    lab.apply()
    with lab.desk.database.write() as session:
        definitions.remove(session, "nightly", by="alice", now=now())

    with pytest.raises(NotFound, match="was removed"):
        lab.start()
    with lab.desk.database.read() as session:
        assert len(definitions.versions(session, "nightly")) == 1
        assert definitions.suites(session, now()) == []


# ── running ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_cells_that_are_built_alike_share_their_build_and_every_job_has_the_low_priority(lab):
    lab.apply(matrix={"backend_types": ["qwen2_7b_bf16"], "slots": ["g0", "g1"]}, repeats=2)

    run_id = lab.start()
    lab.work()

    with lab.desk.database.read() as session:
        jobs = session.scalars(select(Job).order_by(Job.id)).all()
        batch = session.get_one(Batch, lab.row(run_id).batch_id)
    assert [job.kind for job in jobs] == ["convert", "compile", *["infer"] * 4]
    assert {(job.priority, job.state, job.batch_id) for job in jobs} == {(1, JobState.SUCCEEDED, batch.id)}
    assert (batch.size, batch.ended_at is not None) == (6, True)


@both_databases
def test_a_second_run_takes_its_builds_from_the_cache(lab):
    lab.apply(matrix={"backend_types": ["qwen2_7b_bf16"]})
    lab.run()

    lab.run()

    with lab.desk.database.read() as session:
        cached = select(Job.kind).where(Job.cached_from.is_not(None)).order_by(Job.id)
        assert session.scalars(cached).all() == ["convert", "compile"]


def test_a_model_that_is_gone_since_refuses_the_run_and_writes_nothing(lab):
    lab.apply(matrix={"releases": ["r1"]})
    with lab.desk.database.write() as session:
        document = dict(session.get_one(Suite, "nightly").document)
        document["matrix"] = {**document["matrix"], "releases": ["r2"]}
        session.execute(update(Suite).values(document=document))

    with nothing_written(lab.desk.database), pytest.raises(BadSpec, match="r2") as refused:
        lab.start()

    assert refused.value.field == "matrix.releases.0"


# ── judging ───────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_without_a_baseline_the_verdict_is_missing_and_says_how_to_set_one(lab):
    lab.apply()

    run = lab.run()

    assert (run.verdict, run.cells, run.alarms) == ("missing", 1, 0)
    assert _cell(run)["remedy"] == f"tx81 baselines set nightly {CELL} --run {run.id} --reason TEXT"


@both_databases
def test_the_same_as_the_baseline_is_the_same(lab):
    lab.apply()
    lab.accept(lab.run().id)

    run = lab.run()

    assert (run.verdict, _cell(run)["outcome"]) == ("same", CellOutcome.GOOD)
    assert _cell(run)["comparison"]["answers"]["pairs"]["pairs"] == 3


def test_a_retired_baseline_is_none(lab):
    lab.apply()
    lab.accept(lab.run().id)
    with lab.desk.database.write() as session:
        session.execute(update(Baseline).values(until=now()))

    assert lab.run().verdict == "missing"


@both_databases
def test_a_baseline_in_doubt_is_named_with_the_order_that_replaces_it(lab):
    lab.apply()
    lab.accept(lab.run().id)
    with lab.desk.database.write() as session:
        baseline = session.scalar(select(Baseline.id))
        for slot in ("lab1.g0", "lab1.g1"):
            doubt.doubt_since_last_proof(session, slot, DoubtReason.CANARY_FAILED, {}, now())

    run = lab.run()

    assert (run.verdict, _cell(run)["why"]) == ("missing", f"baseline {baseline} is in doubt")
    assert _cell(run)["remedy"] == f"tx81 baselines accept {baseline} --run {run.id} --reason TEXT"


def test_what_is_worse_on_every_card_group_is_the_model_or_the_toolchain(lab):
    lab.apply()
    lab.accept(lab.run().id)
    lab.world = lambda _job, _slot: Outcome(answer="五")

    run = lab.run()

    assert (run.verdict, run.alarms, run.false_alarms) == ("worse", 1, 0)
    assert _cell(run)["outcome"] == CellOutcome.MODEL_OR_TOOLCHAIN
    assert _cell(run)["remedy"].startswith(f"tx81 triage {_cell(run)['jobs']['measure'][0]};")
    assert _numbers(lab, run.id) == {JobRole.MEASURE: 3, JobRole.CONFIRM_SAME: 3, JobRole.CONFIRM_OTHER: 3}
    with lab.desk.database.read() as session:
        assert set(session.scalars(select(Slot.service_state))) == {ServiceState.IN_SERVICE}


@both_databases
def test_what_is_worse_on_one_card_group_alone_is_the_card_and_its_slot_is_quarantined_with_the_evidence(lab):
    lab.apply()
    lab.accept(lab.run().id)
    lab.world = by_slot({"lab1.g1": Outcome(answer="五")})

    run = lab.run()

    assert (run.verdict, _cell(run)["outcome"], _cell(run)["slots"]) == (
        "infrastructure",
        CellOutcome.CARD,
        ["lab1.g1"],
    )
    assert _cell(run)["remedy"] == "tx81 slots show lab1.g1"
    with lab.desk.database.read() as session:
        states = dict(session.execute(select(Slot.name, Slot.service_state)).all())
        because = session.get_one(Slot, "lab1.g1").quarantined_because
    assert (states["g0"], states["g1"]) == (ServiceState.IN_SERVICE, ServiceState.QUARANTINED)
    assert (because["by"], because["evidence"]["run"]) == (None, run.id)


def test_what_is_not_worse_again_is_a_false_alarm_and_the_suite_counts_it(lab):
    lab.apply()
    lab.accept(lab.run().id)
    lab.world = lambda job, _slot: Outcome(answer="四" if ".same." in job.name or ".other." in job.name else "五")

    run = lab.run()

    assert (run.verdict, run.alarms, run.false_alarms) == ("same", 1, 1)
    assert _cell(run)["outcome"] == CellOutcome.NOT_CONFIRMED
    with lab.desk.database.read() as session:
        counts = definitions.alarm_counts(session, "nightly")
    assert (counts.runs, counts.cells, counts.alarms, counts.false_alarms) == (2, 2, 1, 1)


def test_a_suite_that_does_not_confirm_reports_worse_at_once(lab):
    lab.apply(confirm=False)
    lab.accept(lab.run().id)
    lab.world = lambda _job, _slot: Outcome(answer="五")

    run = lab.run()

    assert (run.verdict, run.alarms, _cell(run)["outcome"]) == ("worse", 0, CellOutcome.WORSE)
    assert _numbers(lab, run.id) == {JobRole.MEASURE: 3}


def test_with_one_card_group_only_worse_stays_worse_and_says_that_no_other_was_measured(desk):
    lab = SuiteDesk(desk, groups=1)
    lab.apply()
    lab.accept(lab.run().id)
    lab.world = lambda _job, _slot: Outcome(answer="五")

    run = lab.run()

    assert (run.verdict, _cell(run)["outcome"]) == ("worse", CellOutcome.UNDECIDED)
    assert "on another one: not measured" in _cell(run)["why"]


@both_databases
def test_unknown_orders_more_runs_up_to_the_budget_and_says_how_many_it_takes(lab):
    lab.apply(repeats=4, budget=8, gates=GATE)
    wide = itertools.cycle([60.0, 140.0, 90.0, 120.0])
    lab.world = lambda _job, _slot: Outcome(next(wide) + next(_fine))
    lab.accept(lab.run().id)

    run = lab.run()

    assert run.verdict == "unknown"
    assert _numbers(lab, run.id) == {JobRole.MEASURE: 4, JobRole.REPEAT: 4}
    (metric,) = _cell(run)["comparison"]["metrics"]
    assert metric["needed"] > 8
    assert str(metric["needed"]) in _cell(run)["why"]


def test_what_is_measured_again_runs_with_the_release_that_ran_first(lab):
    lab.apply(repeats=1)
    lab.accept(lab.run().id)
    lab.world = lambda _job, _slot: Outcome(answer="五")
    run_id = lab.start()
    lab.turn()
    with lab.desk.database.write() as session:
        a_release(session).is_default = False
        a_release(session, name="r2", digest=f"sha256:{'b' * 64}")

    lab.work()

    assert lab.row(run_id).verdict == "worse"
    assert {each.job.release for each in lab.jobs(run_id)} == {"r1"}


def test_a_slower_build_is_found_by_its_throughput_and_confirmed(lab):
    lab.apply(repeats=5, gates=GATE)
    measured = _noise(100)
    lab.world = lambda _job, _slot: measured()
    lab.accept(lab.run().id)
    slower = _noise(90)
    lab.world = lambda _job, _slot: slower()

    run = lab.run()

    assert (run.verdict, _cell(run)["outcome"]) == ("worse", CellOutcome.MODEL_OR_TOOLCHAIN)
    assert _cell(run)["comparison"]["metrics"][0]["relative"] == pytest.approx(-0.1, abs=0.01)
    assert _cell(run)["remedy"].startswith("if it is meant: tx81 baselines accept")


@both_databases
def test_faults_of_all_runs_are_infrastructure_with_and_without_a_baseline(lab):
    lab.apply()
    lab.world = lambda _job, _slot: Outcome(failure=FAULT)
    assert lab.run().verdict == "infrastructure"
    lab.world = lambda _job, _slot: Outcome()
    lab.accept(lab.run().id)
    lab.world = lambda _job, _slot: Outcome(failure=FAULT)

    run = lab.run()

    assert (run.verdict, run.alarms) == ("infrastructure", 0)


def test_what_differs_without_being_named_is_not_comparable(lab):
    document = lab.apply()
    lab.accept(lab.run().id)
    template = {"kcore": lab.desk.stored("kcore", b"another image")}

    lab.apply(template=template)
    apart = lab.run()
    lab.apply(template=template, across=["kcore"])
    allowed = lab.run()

    assert document.template.kcore != template
    assert (apart.verdict, "kcore" in apart.why) == ("not_comparable", True)
    assert allowed.verdict == "same"


def test_a_run_that_cannot_be_judged_ends_as_unknown_and_does_not_hold_up_others(lab, monkeypatch):
    monkeypatch.setattr("orchestrator.comparisons.sides.MOST_ANSWERS", 2)
    lab.apply()
    lab.apply(name="small", repeats=1)
    large, small = lab.start(), lab.start("small")
    lab.work()

    assert (lab.row(large).verdict, "answers" in lab.row(large).why) == ("unknown", True)
    assert lab.row(small).verdict == "missing"


def test_a_run_whose_stored_suite_is_no_longer_valid_ends_as_unknown_and_another_is_refused(lab):
    lab.apply()
    run_id = lab.start()
    with lab.desk.database.write() as session:
        for row in (session.get_one(Suite, "nightly"), session.scalars(select(SuiteVersion)).one()):
            row.document = {**row.document, "of_an_older_version": 1}
    lab.work()

    assert (lab.row(run_id).verdict, "apply it again" in lab.row(run_id).why) == ("unknown", True)
    with pytest.raises(BadSpec, match="no longer valid"):
        lab.start()


@both_databases
def test_a_run_is_judged_once_however_many_judges_there_are(lab):
    lab.apply()
    run_id = lab.start()
    while lab.turn():
        pass
    other = SuiteDesk.__new__(SuiteDesk)
    other.judge = type(lab.judge)(lab.desk.database, lab.runs)
    due = lab.row(run_id)

    assert (lab.judge._judge(run_id, due.round), other.judge._judge(run_id, due.round)) == (True, False)
    assert len(_events(lab, "suite.judged")) == 1


def test_a_change_of_the_verdict_is_announced_once_and_what_stays_is_not(lab):
    with lab.desk.database.write() as session:
        told = {"kind": "webhook", "url": "https://192.0.2.1/hook", "created_by": "ann", "created_at": now()}
        session.add(NotificationTarget(name="team", secret="whsec_x", **told))
    lab.apply()
    lab.accept(lab.run().id)
    lab.run()
    lab.run()

    with lab.desk.database.read() as session:
        sent = [row.document["data"] for row in session.scalars(select(Delivery).order_by(Delivery.id))]
    assert [(each["subject"], each["old"], each["new"]) for each in sent] == [
        ("suite nightly", None, "missing"),
        ("suite nightly", "missing", "same"),
    ]


@both_databases
def test_many_cells_are_compared_in_several_calls_and_judged_together(lab, monkeypatch):
    monkeypatch.setattr("orchestrator.suites.judging.CELLS_AT_ONCE", 1)
    lab.apply(matrix={"slots": ["g0", "g1"]}, repeats=1)
    run_id = lab.start()
    while lab.turn():
        pass

    calls = [lab.judge.tend() for _ in range(2)]

    assert calls == [0, 1]
    assert sorted(lab.row(run_id).report["cells"]) == [f"{CELL},slots=g0", f"{CELL},slots=g1"]


def test_a_suite_in_use_by_a_schedule_is_not_removed(lab):
    lab.apply()
    with lab.desk.database.write() as session:
        document = ScheduleDocument(suite="nightly", cron="0 2 * * *")
        schedules.set_schedule(session, "night", document, by="alice", now=now())

    with lab.desk.database.write() as session, pytest.raises(IllegalTransition, match="schedule night"):
        definitions.remove(session, "nightly", by="alice", now=now())


@both_databases
def test_two_runs_of_a_suite_may_be_started_by_hand_side_by_side(lab):
    lab.apply()

    first, second = lab.start(), lab.start(origin=RunOrigin("bob"))
    lab.work()

    assert [lab.row(each).verdict for each in (first, second)] == ["missing", "missing"]
    assert lab.row(second).started_by == "bob"


# ── against itself ────────────────────────────────────────────────────────────────────────────────────────────────────


def _against_itself(lab: SuiteDesk):
    run_id = lab.start(origin=RunOrigin("alice", purpose=RunPurpose.AA))
    lab.work()
    return lab.row(run_id)


@both_databases
def test_a_run_against_itself_deals_its_runs_to_two_sides_and_stores_the_noise_by_card_group(lab):
    lab.apply(repeats=4, gates=GATE)
    measured = iter([100.0, 102.0, 101.0, 99.0, 100.0, 103.0, 101.5, 98.0])
    lab.world = lambda _job, _slot: Outcome(next(measured))

    run = _against_itself(lab)

    roles = [each.role for each in lab.jobs(run.id)]
    assert roles == [JobRole.A, JobRole.B, JobRole.B, JobRole.A] * 2
    floors = run.report["floors"][CELL]
    assert sorted(floors) == ["", "lab1.g0", "lab1.g1"]
    assert 0 < floors[""]["output_throughput"] < 0.05
    assert (run.purpose, run.cells, run.false_alarms) == ("aa", 1, 0)


def test_a_run_against_itself_is_no_verdict_of_the_suite_and_needs_no_baseline(lab):
    lab.apply(gates=GATE, repeats=5)
    lab.world = lambda _job, _slot: Outcome(100 + next(_fine))

    run = _against_itself(lab)

    assert run.verdict == "same"
    with lab.desk.database.read() as session:
        facts = definitions.suite_facts(session, "nightly", now())
        counts = definitions.alarm_counts(session, "nightly", RunPurpose.AA)
    assert (facts.suite.verdict, facts.last) == (None, None)
    assert (counts.runs, counts.cells) == (1, 1)


def test_what_lies_within_twice_the_noise_of_runs_against_itself_is_not_called_worse(lab):
    lab.apply(repeats=5, gates=GATE)
    high, low = _noise(100), _noise(90)
    roles = itertools.cycle([high, low, low, high])
    lab.world = lambda _job, _slot: next(roles)()  # as if something else used the host now and then
    _against_itself(lab)
    lab.world = lambda _job, _slot: high()
    lab.accept(lab.run().id)
    lab.world = lambda _job, _slot: low()

    run = lab.run()

    (metric,) = _cell(run)["comparison"]["metrics"]
    assert metric["relative"] == pytest.approx(-0.1, abs=0.01)
    assert metric["threshold"] == pytest.approx(0.2, abs=0.01)
    assert run.verdict == "same"
