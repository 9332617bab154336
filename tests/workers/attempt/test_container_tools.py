"""The emulated tools of the vendor, called in a container as the shipped profile says."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from sqlalchemy import select

from orchestrator.catalog.profile_files import load_profile
from orchestrator.catalog.weights import weights_of
from orchestrator.model.states import JobState
from orchestrator.storage.tables import Answer, Artifact, Model, Release
from workers.release_check import check
from workers.slot import SlotName, owned

pytestmark = pytest.mark.slow

SHIPPED = "txnn_1.2.1_build0307_docker"


@pytest.fixture
def tree(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "emulator", "install", tmp_path / "tree"], check=True, capture_output=True
    )
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def profile(lab, docker, tree):
    """The shipped one, but for where things are on this machine."""
    (docker.folder / "miniconda").symlink_to(Path(tree["home"], "miniconda"))
    docker_keys = {"program": docker.program, "mounts": {"{miniconda}": str(docker.folder / "miniconda")}}
    mine = {"extends": SHIPPED, "launcher": {"docker": docker_keys}, "environment": {"LD_PRELOAD": None}}
    (lab.folder / "mine.yaml").write_text(yaml.safe_dump(mine))
    made = load_profile(lab.settings.model_copy(update={"profile_dirs": (lab.folder,)}), "mine")
    with lab.database.write() as session:
        release, model = session.get_one(Release, "tiny"), session.get_one(Model, "tiny-model")
        release.profile, release.root = made.model_dump(mode="json"), tree["home"]
        model.path = tree["model"]
        weights = weights_of(lab.settings, Path(tree["model"]))
        model.digest, model.stamp = weights.digest, weights.stamp
        model.official_config = json.loads(Path(tree["model"], "config.json").read_text())
        model.tx81_config = json.loads(Path(tree["model"], "config_tx81.json").read_text())
    return made


def output(lab, attempt_id: int, name: str) -> str:
    failure = lab.attempt(attempt_id).failure
    assert failure is None or lab.job(attempt_id).state is JobState.SUCCEEDED, failure
    with lab.database.read() as session:
        found = select(Artifact.digest).where(Artifact.attempt_id == attempt_id, Artifact.name == name)
        return session.scalars(found).one()


@pytest.mark.usefixtures("profile")
def test_a_model_becomes_answers_by_tools_in_a_container(lab, cpu0):
    convert = lab.assigned({"kind": "convert", "model": "tiny-model", "backend_type": "qwen2_7b_bf16"}, slot="cpu0")
    lab.run(convert, cpu0)
    source = {"c_source": output(lab, convert, "c_source")}
    compiled = lab.assigned({"kind": "compile", "c_source": {"job": 1, "artifact": "c_source"}}, source, slot="cpu0")
    lab.run(compiled, cpu0)
    inputs = {"kcore": output(lab, compiled, "kcore"), "prompts": lab.stored("quests", "你好\n")}
    infer = {"kind": "infer", "model": "tiny-model", "max_tokens": 8, "prompts": {"path": "/p"}}
    infer["kcore"] = {"job": 2, "artifact": "kcore"}
    with owned(lab.settings, lab.database, SlotName.parse("g0")) as g0:
        asked = lab.assigned(infer, inputs)
        lab.run(asked, g0)

    output(lab, asked, "answers")
    with lab.database.read() as session:
        assert len(session.scalars(select(Answer)).all()) == 1


def test_a_release_is_checked_through_its_container(lab, docker, profile, tree):
    made = check("r1", profile, lab.settings, Path(tree["home"]))

    told = {(found.about, found.level.value) for found in made.findings}
    assert made.ok, made.findings
    assert {("container txnn", "ok"), ("quantize", "ok"), ("convert", "ok"), ("infer", "ok")} <= told

    docker.call("stop", "txnn")
    assert "is not running" in check("r1", profile, lab.settings, Path(tree["home"])).findings[-1].detail
