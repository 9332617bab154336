"""Tools in a container: run to their end, stopped with all that they started, and never left behind."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from eventually import eventually
from sqlalchemy import select

from orchestrator.model.launchers import DockerExec
from orchestrator.model.states import JobState, ServiceState
from orchestrator.storage.logs import SealedLogReader
from orchestrator.storage.tables import Artifact, Release, Slot
from workers.host import locks
from workers.lacks import still_lacks
from workers.processes.container import MARK, Container, Mark
from workers.processes.process import Command, StopReason, StopSignal

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
QUANTIZE = {"kind": "quantize", "model": "tiny-model"}
INPUTS = {"kcore": {"job": 1, "artifact": "kcore"}, "prompts": {"path": "/p"}}
ORPHANS = """
(env -i sh -c 'echo $$ >> {pids}; exec sleep 1000' &)
(setsid sh -c 'echo $$ >> {pids}; exec sleep 1000' &)
"""
FAMILY = f"""
echo $$ >> {{pids}}
setsid env -i sleep 1000 & echo $! >> {{pids}}
{ORPHANS}
"""
"""Processes of which each lacks something by which the others are found."""
DEAF = "trap '' INT TERM; echo $$ >> {pids}; while :; do sleep 1; done"


def in_container(lab, docker, **more):
    """Have the lab's tools run in the container from now on."""
    launcher = {
        "docker": {"container": "txnn", "program": docker.program, "mounts": {str(lab.folder): str(lab.folder)}}
    }
    launcher["docker"] |= more
    with lab.database.write() as session:
        release = session.get_one(Release, "tiny")
        release.profile = {**release.profile, "launcher": launcher}


def pids_in(file: Path, count: int) -> list[int]:
    eventually(lambda: file.exists() and file.read_text().count("\n") >= count)
    return [int(line) for line in file.read_text().split()]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def nobody(pids: list[int]) -> bool:
    return not any(map(alive, pids))


def log_of(lab, attempt_id) -> str:
    return json.dumps(lab.attempt(attempt_id).failure)


def test_a_tool_does_its_work_in_the_container_with_its_environment_and_the_containers_own(lab, cpu0, docker):
    in_container(lab, docker)
    lab.tool('echo "$HOME $API_TOKEN $OF_THE_IMAGE $PATH" > "$2/weights.gm"; pwd >> "$2/weights.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED, log_of(lab, attempt_id)
    work = cpu0.work / "1.1"
    assert written(lab, attempt_id) == [f"{work} s3cret 1 /usr/bin:/bin", f"{work}/run"]
    assert lab.attempt(attempt_id).command["container"] == "txnn"
    assert lab.attempt(attempt_id).command["argv"][:2] == ["sh", f"{lab.folder}/release/tool.sh"]
    assert lab.attempt(attempt_id).command["env"]["API_TOKEN"] == "***"


def written(lab, attempt_id) -> list[str]:
    with lab.database.read() as session:
        found = select(Artifact.digest).where(Artifact.attempt_id == attempt_id, Artifact.name == "gm")
        return lab.store.path(session.scalars(found).one()).read_text().splitlines()


def test_a_tool_sees_its_files_where_they_are_mounted(lab, cpu0, docker):
    inside = docker.folder / "inside"
    inside.symlink_to(lab.folder)
    in_container(lab, docker, mounts={str(lab.folder): str(inside)})
    lab.tool('echo "$0 $1 $2" > "$2/weights.gm"; readlink "$1/model.safetensors" >> "$2/weights.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).state is JobState.SUCCEEDED, log_of(lab, attempt_id)
    work = inside / cpu0.work.relative_to(lab.folder) / "1.1"
    assert written(lab, attempt_id) == [
        f"{inside}/release/tool.sh {work}/model/tiny-model {work}/out",
        f"{inside}/models/tiny-model/model.safetensors",
    ]


def test_a_path_that_is_not_mounted_is_refused_before_anything_is_started(lab, cpu0, docker):
    in_container(lab, docker, mounts={"{root}": "/opt/tools"})
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "bad_spec"
    assert str(lab.folder) in failure["reason"]
    assert f"{lab.folder}/release at /opt/tools" in failure["reason"]
    assert lab.attempt(attempt_id).pid is None


def test_the_exit_code_and_the_last_line_of_a_tool_come_out_of_the_container(lab, cpu0, docker):
    in_container(lab, docker)
    lab.tool("echo 权重不匹配; exit 7")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    failure = lab.job(attempt_id).failure
    assert (failure["kind"], failure["exit_code"], failure["reason"]) == ("tool", 7, "权重不匹配 (exit code 7)")


@pytest.mark.parametrize("script", [FAMILY + "wait", FAMILY + DEAF], ids=["obedient", "deaf"])
def test_a_cancelled_job_leaves_nothing_in_the_container(lab, cpu0, docker, script):
    in_container(lab, docker)
    pids_file = lab.folder / "pids"
    lab.tool(script.format(pids=pids_file))
    attempt_id, stop = lab.assigned(QUANTIZE, slot="cpu0"), StopSignal()
    running = lab.run_aside(attempt_id, cpu0, stop)
    pids = pids_in(pids_file, 4)

    stop.request(StopReason.CANCELLED)
    running.join(60)

    assert nobody(pids)
    assert lab.job(attempt_id).state is JobState.CANCELLED


def test_a_tool_that_obeys_says_its_last_words_before_it_goes(lab, cpu0, docker):
    in_container(lab, docker)
    lab.tool(f"trap 'echo cards closed; exit 3' TERM; echo $$ > {lab.folder}/pids; while :; do sleep 0.1; done")
    attempt_id, stop = lab.assigned(QUANTIZE, slot="cpu0"), StopSignal()
    running = lab.run_aside(attempt_id, cpu0, stop)
    pids_in(lab.folder / "pids", 1)

    stop.request(StopReason.RUN_LIMIT)
    running.join(60)

    assert lab.attempt(attempt_id).failure["exit_code"] == 3
    assert b"cards closed" in SealedLogReader(lab.store.path(lab.attempt(attempt_id).log_digest)).read(0, 1000)


def test_what_a_tool_leaves_in_the_container_when_it_ends_is_killed(lab, cpu0, docker):
    in_container(lab, docker)
    pids_file = lab.folder / "pids"
    lab.tool(ORPHANS.format(pids=pids_file) + 'touch "$2/weights.gm"; sleep 0.3')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert nobody(pids_in(pids_file, 2))
    assert lab.job(attempt_id).state is JobState.SUCCEEDED


def test_a_container_that_does_not_run_costs_no_attempt_and_keeps_its_jobs_away_until_it_runs(lab, cpu0, docker):
    in_container(lab, docker)
    docker.call("stop", "txnn")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.job(attempt_id).state is JobState.QUEUED
    failure = lab.attempt(attempt_id).failure
    assert failure["kind"] == "stopped"
    assert "is not running" in failure["reason"]
    assert "start txnn" in failure["reason"]
    assert service_state(lab, cpu0) is ServiceState.IN_SERVICE
    assert lacks_of(lab, cpu0)["tiny"]["why"] == failure["reason"]
    assert still_lacks("tiny", lab.settings, lab.database, cpu0.shim)
    docker.call("start", "txnn")
    assert not still_lacks("tiny", lab.settings, lab.database, cpu0.shim)


def lacks_of(lab, slot):
    with lab.database.read() as session:
        return session.get_one(Slot, slot.id).lacks


def service_state(lab, slot) -> ServiceState:
    with lab.database.read() as session:
        return session.get_one(Slot, slot.id).service_state


@pytest.mark.parametrize(
    ("change", "told"),
    [({"container": "gone"}, "No such container: gone"), ({"program": "/no/such/docker"}, "cannot execute")],
)
def test_a_container_or_a_client_that_is_not_there_costs_no_attempt_and_is_named(lab, cpu0, docker, change, told):
    in_container(lab, docker, **change)
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert lab.attempt(attempt_id).failure["kind"] == "stopped"
    assert told in lab.attempt(attempt_id).failure["reason"]
    assert told in lacks_of(lab, cpu0)["tiny"]["why"]


def test_a_container_that_is_stopped_under_a_running_tool_is_a_fault(lab, cpu0, docker):
    in_container(lab, docker)
    lab.tool(f"echo $$ > {lab.folder}/pids; sleep 1000")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    running = lab.run_aside(attempt_id, cpu0)
    pids_in(lab.folder / "pids", 1)

    docker.call("stop", "txnn")
    running.join(60)

    assert lab.job(attempt_id).state is JobState.QUEUED
    assert "txnn was stopped while the tool ran" in lab.attempt(attempt_id).failure["reason"]


def test_a_daemon_that_is_lost_under_a_running_tool_is_a_fault_and_leaves_the_slot_suspect(lab, cpu0, docker):
    in_container(lab, docker)
    lab.tool(f"echo $$ > {lab.folder}/pids; exec sleep 1000")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    running = lab.run_aside(attempt_id, cpu0)
    (pid,) = pids_in(lab.folder / "pids", 1)

    docker.daemon.kill()
    running.join(60)

    assert lab.job(attempt_id).state is JobState.QUEUED
    assert "contact with the container was lost" in lab.attempt(attempt_id).failure["reason"]
    assert service_state(lab, cpu0) is ServiceState.QUARANTINED
    os.kill(pid, signal.SIGKILL)


def test_a_tool_in_a_container_that_opens_the_cards_of_others_is_stopped(lab, g0, docker):
    in_container(lab, docker)
    lab.tool(f"exec 5<{lab.settings.devices_dir}/dev-5; sleep 1000")
    inputs = {"kcore": lab.stored("k", "k"), "prompts": lab.stored("p", "q")}
    attempt_id = lab.assigned({"kind": "infer", "model": "tiny-model", **INPUTS}, inputs)

    lab.run(attempt_id, g0)

    assert lab.attempt(attempt_id).failure["kind"] == "wrong_cards"
    assert "cards 5" in lab.attempt(attempt_id).failure["reason"]


def test_a_working_folder_that_the_container_does_not_really_see_is_a_fault(lab, cpu0, docker):
    in_container(lab, docker, mounts={str(lab.folder): "/not/mounted"})
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    failure = lab.attempt(attempt_id).failure
    assert failure["kind"] == "fault"
    assert "did not start the tool" in failure["reason"]
    assert "chdir to cwd" in failure["reason"]


def leftover(lab, docker, *slot_ids: str) -> int:
    """A process in the container that bears the mark of an attempt whose worker is gone."""
    mark = Mark(locks.domain(lab.settings.locks), "9.1", slot_ids)
    script = f"echo $$ > {lab.folder}/left; exec sleep 1000"
    client = subprocess.Popen([docker.program, "exec", "-e", f"{MARK}={mark}", "txnn", "sh", "-c", script])
    (pid,) = pids_in(lab.folder / "left", 1)
    client.kill()
    client.wait()
    assert alive(pid)
    return pid


@pytest.mark.parametrize(
    ("slot_ids", "survives"), [(("lab.cpu0",), False), (("lab.g0", "lab.cpu0"), False), (("lab.cpu01",), True)]
)
def test_before_a_tool_starts_nothing_of_earlier_attempts_on_its_slot_is_left(lab, cpu0, docker, slot_ids, survives):
    in_container(lab, docker)
    pid = leftover(lab, docker, *slot_ids)
    lab.tool(f'test -e /proc/{pid}/exe && echo there > "$2/weights.gm" || echo gone > "$2/weights.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert written(lab, attempt_id) == ["there" if survives else "gone"]


def test_the_end_of_an_attempt_never_ends_what_another_has_begun_on_its_slots(lab, docker):
    pid = leftover(lab, docker, "lab.cpu0")
    launcher = DockerExec(container="txnn", program=docker.program, mounts={"/": "/"})
    earlier = Mark(locks.domain(lab.settings.locks), "9", ("lab.cpu0",))
    container = Container(launcher, earlier, entered=f"{lab.folder}/entered", folder=lab.folder, shim=None)

    assert container.kill(earlier.own) == ()
    assert container.kill(earlier.of_slots) == (pid,)


WORKER = """
import json, sys
from datetime import timedelta
from pathlib import Path
from workers.processes.process import Command, KillStep, Limits, StopSignal, run
argv, messenger, folder = json.loads(sys.argv[1])
command = Command(tuple(argv), {"PATH": "/usr/bin:/bin"}, Path("/"), tuple(messenger))
ladder = [KillStep(2, timedelta(seconds=0.5)), KillStep(9, timedelta(seconds=5))]
run(command, log=Path(folder, "log"), limits=Limits(), ladder=ladder, stop=StopSignal())
"""


@pytest.mark.parametrize("script", [FAMILY + "wait", FAMILY + DEAF], ids=["obedient", "deaf"])
def test_a_worker_that_is_killed_leaves_nothing_in_the_container(tmp_path, docker, script):
    pids_file = tmp_path / "pids"
    launcher = DockerExec(container="txnn", program=docker.program, mounts={"/": "/"})
    container = Container(
        launcher, Mark("d", "7.1", ("lab.g0",)), entered=str(tmp_path / "entered"), folder=tmp_path, shim=None
    )
    tool = Command(("sh", "-c", script.format(pids=pids_file)), {"PATH": "/usr/bin:/bin"}, tmp_path)
    started = container.started(tool)
    document = json.dumps([started.argv, started.messenger, str(tmp_path)])
    worker = subprocess.Popen([sys.executable, "-c", WORKER, document], cwd=ROOT)
    pids = pids_in(pids_file, 4)

    worker.send_signal(signal.SIGKILL)
    worker.wait()

    eventually(lambda: nobody(pids))


def test_a_shim_that_is_killed_leaves_nothing_in_the_container(lab, cpu0, docker):
    in_container(lab, docker)
    pids_file = lab.folder / "pids"
    lab.tool((FAMILY + DEAF).format(pids=pids_file))
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    running = lab.run_aside(attempt_id, cpu0)
    pids = pids_in(pids_file, 4)

    subprocess.run(["kill", "-9", str(cpu0.shim.pid)], check=True)
    running.join(60)

    assert nobody(pids)
    assert lab.attempt(attempt_id).failure["kind"] == "fault"
