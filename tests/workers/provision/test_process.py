"""The process that sets a host up, with the emulated vendor's packages and scripts."""

import json
import os
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml
from eventually import eventually

import emulator
from emulator.installation import image
from orchestrator.catalog.profile_files import load_profile
from orchestrator.errors import BadSpec
from orchestrator.model.profile import Profile
from orchestrator.model.provision import ProvisionSpec
from orchestrator.settings import SHIPPED_PROFILES, Settings
from workers.processes.container import Container, Mark
from workers.provision.outcomes import Outcome, StepState, read
from workers.provision.plan import Steps, ToolsContainer, steps_of, words_of
from workers.toolchain.commands import view_of

pytestmark = pytest.mark.slow

SHIPPED = yaml.safe_load((SHIPPED_PROFILES / "txnn_1.2.1_build0307.yaml").read_text())
VARIANTS = Path(emulator.__file__).parent / "variants"
DRIVER = "Tsm_driver_4.3.7.P3_x86_64_installer.run"
DONE = ["packages", "driver", "wheels", "wheels", "quantiser", "quantiser", "engine"]


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    subprocess.run([sys.executable, "-m", "emulator", "package", str(folder)], check=True, capture_output=True)
    return folder


@dataclass
class Bench:
    """A host with nothing on it."""

    folder: Path
    packages: Path

    @property
    def root(self) -> Path:
        return self.folder / "root"

    def steps(self, profile: dict[str, Any] | None = None, *, docker: Path | None = None, **facts: Any) -> Steps:
        spec = ProvisionSpec.model_validate(
            {"host": "lab1", "packages": str(self.packages), "root": str(self.root), "release": "r", "profile": "p"}
            | facts
        )
        known = Profile.model_validate(profile or SHIPPED)
        assert known.provision is not None
        work = self.folder / "work"
        tools = None if docker is None else self.container(spec, known, docker, work)
        return steps_of(spec, known, known.provision, devices=self.root / "dev" / "accel", work=work, tools=tools)

    def container(self, spec: ProvisionSpec, profile: Profile, docker: Path, work: Path) -> ToolsContainer:
        here = {"container": "lab", "environment": {"PATH": f"{docker.parent}:/usr/bin:/bin"}}
        launcher = profile.launcher.docker.model_copy(update=here)
        view = view_of(launcher, words_of(spec, profile, work=work))
        mark = Mark("d", "1.1", ("lab1.g0",))
        made = Container(launcher, mark, entered=str(work / "entered"), folder=work, shim=None)
        return ToolsContainer(launcher, view, made)

    def start(self, name: str, steps: Steps) -> subprocess.Popen[bytes]:
        (self.folder / "steps.json").write_text(steps.model_dump_json())
        argv = [sys.executable, "-m", "workers.provision", self.folder / "steps.json", self.folder / name]
        with (self.folder / "log").open("ab") as log:
            return subprocess.Popen(argv, stdout=log, stderr=log, start_new_session=True)

    def run(self, name: str = "outcomes", profile: dict[str, Any] | None = None, **facts: Any) -> list[Outcome]:
        self.start(name, self.steps(profile, **facts)).wait()
        return read(self.folder / name)

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()


@pytest.fixture
def bench(tmp_path: Path, packages: Path) -> Bench:
    (tmp_path / "work").mkdir()
    return Bench(tmp_path, packages)


def states(outcomes: list[Outcome]) -> set[StepState]:
    return {outcome.state for outcome in outcomes}


def tiny(**step: Any) -> dict[str, Any]:
    """The shipped profile, with one step of our own in place of its own."""
    rule = {"name": "touch", "title": "Touch", "done": {"argv": ["test", "-e", "{root}/touched"]}, **step}
    return {**SHIPPED, "provision": {"archives": ["opt.miniconda.tar.gz"], "steps": [rule]}}


def test_from_packages_to_tools_that_run_and_nothing_to_do_the_second_time(bench: Bench):
    first, second = bench.run("first"), bench.run("second")

    pip = bench.root / "miniconda" / "envs" / "tx8_txnn" / "bin" / "pip"
    assert [outcome.step for outcome in first] == DONE
    assert states(first) == {StepState.DONE}
    assert len(list((bench.root / "dev" / "accel").iterdir())) == 32
    assert b"txnn" in subprocess.run([pip, "list"], capture_output=True, check=True).stdout
    assert states(second) == {StepState.DONE_BEFORE}
    assert not any(outcome.changed for outcome in second)


def test_a_dry_run_tells_every_command_and_changes_nothing(bench: Bench):
    outcomes = bench.run(dry_run=True)

    assert [outcome.step for outcome in outcomes] == DONE
    assert states(outcomes) == {StepState.WOULD_DO}
    assert not bench.root.exists()
    assert f"{bench.root}/Tsm_driver_4.3.7.P3_x86_64_installer.run install silicon" in bench.log


def test_with_one_wrong_checksum_nothing_at_all_is_touched(bench: Bench, tmp_path: Path):
    copies = tmp_path / "copies"
    copies.mkdir()
    for file in bench.packages.iterdir():
        (copies / file.name).write_bytes(file.read_bytes())
    (copies / "txnn_1.2.1_build0307.tar.gz").write_bytes(b"not the engine")

    outcomes = bench.run(packages=str(copies))

    assert [(outcome.step, outcome.state, outcome.changed) for outcome in outcomes] == [
        ("packages", StepState.FAILED, False)
    ]
    assert "txnn_1.2.1_build0307.tar.gz does not match SHA256SUMS" in outcomes[0].why
    assert not bench.root.exists()


def test_the_driver_is_left_alone_where_it_is_not_wanted(bench: Bench):
    outcomes = bench.run(driver=False)

    assert states(outcomes) == {StepState.DONE}
    assert not (bench.root / "dev" / "accel").exists()


def test_a_step_that_fails_ends_it_with_the_last_words_of_its_tool(bench: Bench):
    faults = bench.root / "faults"
    faults.mkdir(parents=True)
    (faults / "driver").write_text("error after=7 times=1\n")

    until_there = ["packages", "driver"]
    failed = bench.run("first", steps=until_there)
    again = bench.run("second", steps=until_there)

    assert [(outcome.step, outcome.state) for outcome in failed] == [
        ("packages", StepState.DONE),
        ("driver", StepState.FAILED),
    ]
    assert "install silicon ended with 1: " in failed[1].why
    assert "injected" in failed[1].why
    assert bench.log.count("provisioning failed at step driver") == 1
    assert [outcome.state for outcome in again] == [StepState.DONE_BEFORE, StepState.DONE]


def test_what_is_done_is_done_again_if_it_is_forced(bench: Bench):
    bench.run("first", steps=["packages", "driver"])
    (bench.root / "faults" / "5").write_text("dead\n")

    outcomes = bench.run("second", steps=["driver"], force=True)

    assert [(outcome.step, outcome.state) for outcome in outcomes] == [("driver", StepState.DONE)]
    assert not (bench.root / "faults" / "5").exists()


@pytest.mark.parametrize(
    ("signal_number", "said"),
    [(signal.SIGKILL, "$ sleep 60"), (signal.SIGINT, "provisioning was stopped at step touch")],
)
def test_a_process_that_is_stopped_or_killed_leaves_behind_how_far_it_came(bench: Bench, signal_number, said):
    process = bench.start("outcomes", bench.steps(tiny(do=[{"argv": ["sleep", "60"]}])))
    eventually(lambda: "$ sleep 60" in bench.log)

    os.killpg(process.pid, signal_number)
    process.wait()

    assert bench.log.splitlines()[-1] == said
    last = read(bench.folder / "outcomes")[-1]
    assert (last.step, last.state, last.changed) == ("touch", StepState.INTERRUPTED, True)


def test_a_step_that_says_success_and_has_done_nothing_has_failed(bench: Bench):
    outcomes = bench.run(profile=tiny(do=[{"argv": ["true"]}]))

    assert outcomes[-1].state is StepState.FAILED
    assert "it was done, but test -e" in outcomes[-1].why


def test_a_step_that_takes_effect_later_is_waited_for(bench: Bench):
    late = "(until test -s $0/go; do sleep 0.1; done; touch $0/touched) >/dev/null 2>&1 & echo started"
    rule = {"do": [{"argv": ["sh", "-c", late, "{root}"]}], "patience_seconds": 60}
    process = bench.start("outcomes", bench.steps(tiny(**rule)))
    eventually(lambda: "started" in bench.log)

    (bench.root / "go").write_text("now")
    process.wait()

    assert read(bench.folder / "outcomes")[-1].state is StepState.DONE


@pytest.mark.parametrize(
    ("argv", "told"),
    [(["no-such-tool"], "cannot be run in"), (["sh", "-c", "echo 失败; exit 3"], "ended with 3: 失败")],
)
def test_a_tool_that_can_not_be_run_or_fails_says_so_in_one_line(bench: Bench, argv, told):
    outcomes = bench.run(profile=tiny(do=[{"argv": argv}]))

    assert told in outcomes[-1].why
    assert "\n" not in outcomes[-1].why


def test_an_image_is_loaded_and_a_container_made_once(bench: Bench):
    """`docker` is a stand-in that remembers images and containers as files."""
    docker = bench.folder / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        '#!/bin/sh\nhere=$(dirname "$0"); echo "$@" >> $here/calls\ncase "$1 $2" in\n'
        '"image inspect") test -e $here/image;;\n"load -i") test -f "$3" && touch $here/image;;\n'
        '"container inspect") test -e $here/container;;\n"run -d") touch $here/container;;\nesac\n'
    )
    docker.chmod(0o755)
    image = "hub.example/tx8/v4.3.7.p3:kuiper-rex1032-release"
    mounts = ["-v", "/dev:/dev", "-v", "{root}/miniconda/:/opt/miniconda"]
    steps = [
        {
            "name": "image", "title": "Load the image",
            "done": {"argv": ["docker", "image", "inspect", image]},
            "do": [{"argv": ["docker", "load", "-i", "{packages}/opt.miniconda.tar.gz"]}],
        },
        {
            "name": "container", "title": "Make the container",
            "done": {"argv": ["docker", "container", "inspect", "txnn"]},
            "do": [{"argv": ["docker", "run", "-d", "--name", "txnn", "--ipc=host", "--privileged", *mounts, image]}],
        },
    ]  # fmt: skip
    profile = {
        **SHIPPED,
        "environment": {"PATH": f"{docker.parent}:/usr/bin:/bin"},
        "provision": {"archives": ["opt.miniconda.tar.gz"], "steps": steps},
    }

    first, second = bench.run("first", profile), bench.run("second", profile)

    assert states(first) == {StepState.DONE}
    assert states(second) == {StepState.DONE_BEFORE}
    calls = (docker.parent / "calls").read_text().splitlines()
    made = [call for call in calls if call.startswith(("load", "run"))]
    assert made == [
        f"load -i {bench.packages}/opt.miniconda.tar.gz",
        f"run -d --name txnn --ipc=host --privileged -v /dev:/dev -v {bench.root}/miniconda/:/opt/miniconda {image}",
    ]


DOCKER = """#!/bin/bash
here=$(dirname "$0"); echo "$@" >> $here/calls
case "$1 $2" in
"image inspect") test -e $here/image;;
"load -i") tar -xOf "$3" manifest.json | grep -q '"RepoTags": \\["IMAGE"\\]' && touch $here/image;;
"start lab") test -e $here/container && touch $here/running;;
"run -d") touch $here/container $here/running;;
"exec "*) test -e $here/running || exit 1
  shift; while [[ $1 == -* ]]; do
    if [[ $1 == -w ]]; then cd "$2"; else export "${2//\\/opt\\/miniconda/ROOT/miniconda}"; fi; shift 2
  done
  shift; exec "${@//\\/opt\\/miniconda/ROOT/miniconda}";;
esac
"""
"""A client that remembers its image and its container as files, and takes an archive of that image alone."""


@pytest.fixture
def docker(bench: Bench) -> Path:
    client = bench.folder / "bin" / "docker"
    client.parent.mkdir()
    client.write_text(DOCKER.replace("ROOT", str(bench.root)).replace("IMAGE", image.NAME))
    client.chmod(0o755)
    return client


def in_container() -> dict[str, Any]:
    """The shipped profile, but for a library of the image."""
    shipped = load_profile(Settings(), "txnn_1.2.1_build0307_docker").model_dump(mode="json", exclude_none=True)
    return {**shipped, "environment": {**shipped["environment"], "LD_PRELOAD": ""}}


def test_a_host_whose_tools_live_in_a_container_is_set_up_inside_it(bench: Bench, docker: Path):
    first, second = (bench.run(name, in_container(), docker=docker) for name in ("first", "second"))

    assert [outcome.step for outcome in first][:3] == ["packages", "image", "container"]
    assert states(first) == {StepState.DONE}, bench.log
    assert states(second) == {StepState.DONE_BEFORE}
    pip = [bench.root / "miniconda/envs/tx8_txnn/bin/pip", "list"]
    assert "txnn" in subprocess.run(pip, check=True, capture_output=True, text=True).stdout
    calls = (docker.parent / "calls").read_text().splitlines()
    assert f"load -i {bench.root}/TX8100_REX1032_Release_v4.3.7.p3.tar" in calls
    assert (
        "run -d --name lab --ipc=host --privileged --network=host -v /dev:/dev -v /tmp:/tmp "
        "-v /lib/modules:/lib/modules -v /sys:/sys "
        f"-v {bench.root}/miniconda:/opt/miniconda -v {bench.root}:{bench.root} "
        f"-w {bench.root}/txnn_1.2.1_build0307/script/run_infer hub.tsingmicro.com/tx8/v4.3.7.p3:kuiper-rex1032-release"
    ) in calls
    (installed,) = [call for call in calls if "install_vllm.sh" in call]
    assert "-e LD_LIBRARY_PATH=/usr/lib/x86_64-linux-gnu:/usr/local/kuiper/lib " in installed
    assert "-e TX81_ATTEMPT=d/1.1," in installed
    assert f"$ bash install_vllm.sh {bench.root} txnn.1.2.1_build0307 (in container lab)" in bench.log


def test_a_dry_run_tells_what_would_be_run_in_the_container_and_where(bench: Bench, docker: Path):
    bench.run(profile=in_container(), docker=docker, dry_run=True, steps=["engine"])

    command = f"bash install_vllm.sh {bench.root} txnn.1.2.1_build0307 (in container lab)"
    assert f"would do: cd {bench.root}/txnn_1.2.1_build0307/script/deploy && {command}\n" in bench.log


def test_a_container_that_stands_still_is_started_and_not_made_anew(bench: Bench, docker: Path):
    (docker.parent / "container").touch()

    outcomes = bench.run(profile=in_container(), docker=docker)

    assert states(outcomes) == {StepState.DONE}, bench.log
    calls = (docker.parent / "calls").read_text().splitlines()
    assert [call for call in calls if call.startswith(("start", "run"))] == ["start lab"]


def test_a_driver_that_stays_in_its_window_is_waited_for(bench: Bench):
    install = [sys.executable, "-m", "emulator", "install", bench.root, "--no-driver", "--variant", "foreground-driver"]
    subprocess.run(install, check=True, capture_output=True)
    profile = yaml.safe_load((VARIANTS / "txnn_foreground_driver.yaml").read_text())
    steps = bench.steps({**SHIPPED, "provision": {**SHIPPED["provision"], **profile["provision"]}}, steps=["driver"])
    waiting = bench.start("outcomes", steps)
    eventually(lambda: "in a window of its own" in bench.log)
    with (bench.folder / "window").open("wb") as shown:
        driver = subprocess.Popen([bench.root / DRIVER, "install", "silicon"], stdout=shown)
    try:
        waiting.wait()
    finally:
        driver.send_signal(signal.SIGINT)

    assert states(read(bench.folder / "outcomes")) == {StepState.DONE}, bench.log
    assert driver.wait() == 0
    assert not (bench.root / "dev" / "accel_drv_mgr").exists()


def test_a_place_holder_that_nobody_knows_is_named_before_anything_is_done(bench: Bench):
    with pytest.raises(BadSpec, match=r"\{nowhere\}"):
        bench.steps(tiny(do=[{"argv": ["cat", "{nowhere}"]}]))


def test_values_with_blanks_and_dashes_stay_one_word_each(bench: Bench):
    steps = bench.steps(tiny(do=[{"argv": ["touch", "{root}"]}]), root="/opt/--all 目录")

    assert steps.steps[0].commands[0].argv == ("touch", "/opt/--all 目录")


def test_a_line_that_was_not_written_to_its_end_is_nothing(tmp_path: Path):
    line = json.dumps({"at": "now", "step": "driver", "title": "Driver", "state": "done", "why": ""})
    (tmp_path / "outcomes").write_text(f'{line}\n{{"at": "now", "step": "eng')

    assert [outcome.step for outcome in read(tmp_path / "outcomes")] == ["driver"]
