"""A stress run of all eight card groups meets a dead card."""

from pathlib import Path
from xml.etree import ElementTree

import pytest
from lab import Lab

from cli.session import Exit
from cli.waiting.batches import end_of, followed
from orchestrator.model.batches import BatchRequest, BatchState
from orchestrator.model.failures import FailureKind
from orchestrator.model.states import JobState, ServiceState
from orchestrator.model.verdicts import Verdict

pytestmark = [pytest.mark.xdist_group("host"), pytest.mark.timeout(300)]


def test_a_dead_card_stops_a_stress_run_and_is_counted_once_and_no_job_is_blamed(whole_host: Lab):
    lab = whole_host
    kcore = lab.run(lab.pipeline())["compile"].id
    job = lab.client.job(lab.infer(kcore)).request
    request = {"name": "stress", "stop_on": "sticky_fault", "template": job, "times": 2, "slots": "all"}

    with lab.fault("4", "dead"):
        made = lab.client.batches.submit(BatchRequest.model_validate(request))
        ended = followed(lab.client, made.id, timeout=240)
    jobs = list(lab.client.all_jobs(batch=made.id))
    suite = ElementTree.fromstring(b"".join(lab.client.batches.junit(made.id)))[0]

    assert (made.size, ended.state, end_of(ended)) == (16, BatchState.STOPPED, Exit.FAULT)
    assert (ended.faults, ended.failures) == (1, {})
    assert [(job.name, job.failure.kind) for job in jobs if job.state is JobState.FAILED] == [
        ("lab1.g1-1", FailureKind.FAULT)
    ]
    assert {job.state for job in jobs if job.slot == "lab1.g1" and job.name != "lab1.g1-1"} == {JobState.SKIPPED}
    assert ended.counts[JobState.SUCCEEDED] + ended.counts[JobState.SKIPPED] == 15
    assert lab.slot("g1").service_state is ServiceState.QUARANTINED
    assert {(line.exact, line.compared) for line in ended.slots if line.faults == 0} <= {(85, 85), (170, 170)}
    assert (ended.agreement.prompts, ended.agreement.odd) == (85, ())
    assert [suite.get(each) for each in ("failures", "errors", "skipped")] == [
        "0", "1", str(ended.counts[JobState.SKIPPED]),
    ]  # fmt: skip
    assert lab.events("violation") == []


def test_a_stress_report_names_the_slow_and_the_corrupt_group_and_no_other(whole_host: Lab):
    lab = whole_host
    kcore = lab.run(lab.pipeline())["compile"].id
    few = Path(lab.tree["prompts"]).with_name("few.txt")
    few.write_text("\n".join(Path(lab.tree["prompts"]).read_text().splitlines()[:6]))
    spec = {"prompts": {"path": str(few)}, "golden": None, "max_tokens": 16}
    job = lab.client.job(lab.infer(kcore, spec=spec)).request

    request = {"name": "two-odd-cards", "template": job, "times": 4, "slots": "all"}

    with lab.fault("10", "slow 60"), lab.fault("21", "corrupt"):
        made = lab.client.batches.submit(BatchRequest.model_validate(request))
        ended = followed(lab.client, made.id, timeout=240)
    found = {(each.slot_id, each.what) for each in ended.odd_groups if each.verdict is not Verdict.UNKNOWN}

    assert ended.state is BatchState.SUCCEEDED
    assert {slot for slot, _ in found} == {"lab1.g2", "lab1.g5"}
    assert ("lab1.g5", "answers") in found
