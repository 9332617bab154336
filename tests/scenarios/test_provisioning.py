"""A host on which nothing is installed, from the vendor's packages to answers; and a step that fails on the way."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from eventually import eventually
from lab import MODEL, Lab, running_lab

from api.documents.jobs import JobDetail
from emulator.cards.events import audit
from orchestrator.model.provision import ProvisionRequest
from orchestrator.model.specs import CanarySpec
from orchestrator.model.states import JobState, ServiceState
from orchestrator.settings import url_of_sqlite

pytestmark = [pytest.mark.xdist_group("provisioning"), pytest.mark.timeout(600)]

GROUPS = [f"g{index}" for index in range(8)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("fresh")
    packing = [sys.executable, "-m", "emulator", "package", str(made / "packages")]
    subprocess.run(packing, check=True, capture_output=True)
    return made


@pytest.fixture(scope="module")
def lab(folder: Path) -> Iterator[Lab]:
    """A host with eight workers and no tools."""
    with running_lab(folder, url_of_sqlite(folder / "tx81.db"), groups=8, root=folder / "root") as made:
        yield made


def provisioned(lab: Lab, folder: Path, **facts: object) -> JobDetail:
    asked = {
        "packages": str(folder / "packages"), "root": str(folder / "root"), "release": "fresh",
        "profile": "txnn_1.2.1_build0307", **facts,
    }  # fmt: skip
    job = lab.client.provisioning.start("lab1", ProvisionRequest.model_validate(asked))
    return lab.ended(job.id, within=300)


def states(lab: Lab) -> set[ServiceState]:
    return {lab.slot(name).service_state for name in GROUPS}


def outcomes(lab: Lab, job: JobDetail) -> dict[str, str]:
    report = lab.client.provisioning.report(job)
    assert report is not None
    return {step.step: step.state for step in report.steps}


def a_kcore(lab: Lab) -> int:
    """A job that made a kcore with the tools there are, on the CPU seat."""
    whole = lab.pipeline()
    builds = {name: job for name, job in whole.jobs.items() if name != "infer"}
    return lab.run(whole.model_copy(update={"jobs": builds}))["compile"].id


def two_questions(lab: Lab, folder: Path) -> dict[str, object]:
    """A short inference whose answers are known."""
    file = folder / "two.txt"
    file.write_text("".join(Path(lab.tree["prompts"]).read_text().splitlines(keepends=True)[:2]))
    return {"prompts": {"path": str(file)}, "golden": {"path": lab.tree["golden"]}, "max_tokens": 512}


def test_a_fresh_host_goes_from_packages_to_answers(lab: Lab, folder: Path):
    looked = provisioned(lab, folder, dry_run=True)
    done = provisioned(lab, folder)
    installed = states(lab)
    kcore = a_kcore(lab)
    spec = {"model": MODEL, "kcore": {"job": kcore, "artifact": "kcore"}, **two_questions(lab, folder)}
    lab.client.set_canary("fresh", CanarySpec.model_validate(spec))
    eventually(lambda: states(lab) == {ServiceState.IN_SERVICE}, within=180)
    answered = lab.ended(lab.infer(kcore, spec=two_questions(lab, folder)))
    again = provisioned(lab, folder)

    assert (looked.state, set(outcomes(lab, looked).values())) == (JobState.SUCCEEDED, {"would_do"})
    assert (done.state, outcomes(lab, done)["prove"]) == (JobState.SUCCEEDED, "left_to_canaries")
    assert installed == {ServiceState.QUARANTINED}
    assert (answered.state, answered.release) == (JobState.SUCCEEDED, "fresh")
    assert {metric.name: metric.value for metric in answered.metrics}["exact_answers"] == 2
    assert set(outcomes(lab, again).values()) == {"done_before"}
    assert states(lab) == {ServiceState.IN_SERVICE}
    assert audit(folder / "root" / "state" / "events.jsonl") == []


def test_a_driver_that_fails_leaves_the_host_drained_with_the_reason(lab: Lab, folder: Path):
    faults = folder / "root" / "faults"
    faults.mkdir(parents=True, exist_ok=True)
    (faults / "driver").write_text("error after=7 times=1\n")

    failed = provisioned(lab, folder, steps=["packages", "driver"], force=True)

    assert (failed.state, outcomes(lab, failed)["driver"]) == (JobState.FAILED, "failed")
    assert "failed at step driver" in failed.failure.reason
    assert "injected" in failed.failure.reason
    assert states(lab) == {ServiceState.DRAINED}
    assert {lab.slot(name).service_change.note for name in GROUPS} == {lab.slot("g0").quarantined_because.reason}
    assert "failed at step driver" in lab.slot("g7").service_change.note
