import fcntl
import os
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from eventually import eventually

from workers.processes.process import Command, KillStep, Limits, Outcome, StopReason, StopSignal, run
from workers.processes.tree import Shim, ShimBusyError, ShimLostError

ROOT = Path(__file__).parents[3]
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
UNTIL_GO = "while [ ! -e go ]; do sleep 0.02; done"
OPEN_DESCRIPTORS = """
import os
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
print([fd for fd in range(256) if is_open(fd)])
"""


class Slot:
    """A working folder and one shim for all its runs, which may go on in threads."""

    def __init__(self, folder: Path, shim: Shim, pool: ThreadPoolExecutor) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.shim = shim
        self.pool = pool
        self.stop = StopSignal()
        self.started: list[int] = []

    def run(self, *argv: str, env=PATH, cwd=None, **options) -> Outcome:
        return run(
            Command(argv, env, cwd or self.folder),
            log=self.log,
            limits=Limits(),
            ladder=[KillStep(signal.SIGTERM, timedelta(seconds=0.5))],
            shim=self.shim,
            **{"on_started": self.started.append, "stop": self.stop} | options,
        )

    def begin(self, *argv: str, **options):
        """Returns when the tool runs."""
        before = len(self.started)
        future = self.pool.submit(self.run, *argv, **options)
        eventually(lambda: len(self.started) > before)
        return future

    def descriptors_of_the_shim(self) -> int:
        return len(os.listdir(f"/proc/{self.shim.pid}/fd"))


@pytest.fixture
def slot(tmp_path):
    with ThreadPoolExecutor() as pool, Shim.start() as shim:
        slot = Slot(tmp_path, shim, pool)
        yield slot
        slot.stop.request(StopReason.SHUTDOWN, within=timedelta(0))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def can_lock(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


# Many runs


def test_fifty_runs_have_their_own_exit_codes_and_leave_nothing_in_the_shim(slot):
    shim = slot.shim.pid

    first = [slot.run("sh", "-c", f"exit {code}").exit_code for code in range(5)]
    early = slot.descriptors_of_the_shim()
    later = [slot.run("sh", "-c", f"sleep 1000 & exit {code}").exit_code for code in range(5, 50)]

    assert first + later == list(range(50))
    assert slot.descriptors_of_the_shim() == early
    assert Path(f"/proc/{shim}/task/{shim}/children").read_text() == ""
    assert slot.shim.pid == shim


def test_each_run_has_its_own_environment_folder_and_log(slot, tmp_path):
    show = ("sh", "-c", "pwd -P; /usr/bin/env | grep ^RUN")
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        slot.log = tmp_path / f"{name}.log"
        slot.run(*show, cwd=tmp_path / name, env=PATH | {f"RUN_{name}": name})

    said = {name: (tmp_path / f"{name}.log").read_text().splitlines() for name in ("a", "b")}

    assert said == {name: [str(tmp_path.resolve() / name), f"RUN_{name}={name}"] for name in ("a", "b")}


def test_the_descriptors_of_one_run_do_not_reach_the_next(slot):
    with (slot.folder / "lock").open("w") as lock:
        slot.run("true", keep_fds=[lock.fileno()])

    slot.run(sys.executable, "-I", "-S", "-c", OPEN_DESCRIPTORS)

    assert slot.log.read_text() == "[0, 1, 2]\n"


def test_what_could_not_be_launched_harms_no_later_run(slot):
    missing = slot.run("tsm-no-such-tool")
    nowhere = slot.run("true", cwd=slot.folder / "none")

    assert missing.launch_error is not None
    assert nowhere.launch_error is not None
    assert slot.run("sh", "-c", "exit 3").exit_code == 3


def test_a_stop_is_for_its_own_run_only(slot):
    shim = slot.shim.pid
    stopping = slot.begin("sleep", "1000")
    slot.stop.request(StopReason.CANCELLED)
    stopped = stopping.result(20)

    after = slot.run("sh", "-c", "exit 3", stop=StopSignal())

    assert (stopped.signal, stopped.stopped) == (signal.SIGTERM, StopReason.CANCELLED)
    assert (after.exit_code, after.stopped) == (3, None)
    assert slot.shim.pid == shim


def test_an_error_of_a_callback_ends_the_run_but_not_the_shim(slot):
    shim = slot.shim.pid

    def fail(pid: int) -> None:
        slot.started.append(pid)
        raise LookupError("the caller's own")

    with pytest.raises(LookupError, match="own"):
        slot.run("sleep", "1000", on_started=fail)

    assert not alive(slot.started[0])
    assert (slot.run("true").exit_code, slot.shim.pid) == (0, shim)


def test_a_second_run_at_the_same_time_is_refused_and_does_not_disturb_the_first(slot):
    first = slot.begin("sh", "-c", f"{UNTIL_GO}; exit 3")

    with pytest.raises(ShimBusyError, match=str(slot.shim.pid)):
        slot.run("true")

    (slot.folder / "go").touch()
    assert first.result(20).exit_code == 3
    assert slot.run("true").exit_code == 0


def test_a_shim_serves_on_after_the_end_of_the_thread_that_started_it(slot):
    def start_and_use() -> None:
        slot.shim = Shim.start()
        slot.run("true")

    thread = threading.Thread(target=start_and_use)
    thread.start()
    thread.join()
    eventually(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists())

    with slot.shim as shim:
        pid = shim.pid

        assert slot.run("sh", "-c", "exit 3").exit_code == 3
        assert shim.pid == pid


def test_a_closed_shim_is_gone_and_had_waited_for_its_run(slot):
    with Shim.start() as slot.shim:
        running = slot.begin("sh", "-c", f"{UNTIL_GO}; exit 3")
        closing = slot.pool.submit(slot.shim.close)
        (slot.folder / "go").touch()

        closing.result(20)

        assert running.result(20).exit_code == 3
        assert not Path(f"/proc/{slot.shim.pid}").exists()


# Locks


def test_a_lock_is_free_when_worker_and_tool_are_done_with_it(slot):
    path = slot.folder / "lock"
    lock = os.open(path, os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    let_go = f"exec {lock}>&-; touch released; {UNTIL_GO}"
    running = slot.begin("bash", "-c", f"while [ ! -e release ]; do sleep 0.02; done; {let_go}", keep_fds=[lock])
    os.close(lock)

    held = not can_lock(path)
    (slot.folder / "release").touch()
    eventually((slot.folder / "released").exists)

    assert held
    assert can_lock(path)
    (slot.folder / "go").touch()
    assert running.result(20).exit_code == 0


def test_each_run_gives_its_lock_back_while_the_shim_lives_on(slot):
    path = slot.folder / "lock"
    shim = slot.shim.pid

    for _ in range(3):
        lock = os.open(path, os.O_CREAT | os.O_RDWR)
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        slot.run("sh", "-c", "sleep 1000 &", keep_fds=[lock])
        os.close(lock)

        assert can_lock(path)
    assert alive(shim)


# Death


def test_a_shim_killed_between_two_runs_is_replaced(slot):
    slot.run("true")
    lost = slot.shim.pid
    os.kill(lost, signal.SIGKILL)
    eventually(lambda: not alive(lost))

    outcome = slot.run("sh", "-c", "exit 3")

    assert outcome.exit_code == 3
    assert slot.shim.pid != lost
    assert not Path(f"/proc/{lost}").exists()


def test_a_shim_killed_during_a_run_is_a_fault_of_this_run_only(slot):
    running = slot.begin("sleep", "1000")
    lost = slot.shim.pid

    os.kill(lost, signal.SIGKILL)

    with pytest.raises(ShimLostError):
        running.result(20)
    assert slot.run("sh", "-c", "exit 3").exit_code == 3
    assert slot.shim.pid != lost
    eventually(lambda: not alive(slot.started[0]))


def test_a_shim_terminated_during_a_run_is_replaced_by_the_next(slot):
    running = slot.begin("sleep", "1000")
    terminated = slot.shim.pid

    os.kill(terminated, signal.SIGTERM)

    assert running.result(20).signal == signal.SIGTERM
    assert slot.run("sh", "-c", "exit 3").exit_code == 3
    assert slot.shim.pid != terminated


def worker(folder: Path, *scripts: str) -> list[str]:
    """The command of a worker process with one shim that runs some shell scripts and then waits for its death."""
    source = f"""
import signal, sys
sys.path.insert(0, {str(ROOT)!r})
from datetime import timedelta
from pathlib import Path
from workers.processes.process import *
from workers.processes.tree import Shim
folder = Path({str(folder)!r})
ladder = [KillStep(15, timedelta(seconds=0.3))]
with Shim.start() as shim:
    (folder / "shim").write_text(str(shim.pid))
    for script in {scripts!r}:
        command = Command(("sh", "-c", script), {PATH!r}, folder)
        run(command, log=folder / "log", limits=Limits(), ladder=ladder, stop=StopSignal(), shim=shim)
    (folder / "idle").touch()
    signal.pause()
"""
    return [sys.executable, "-c", source]


def test_the_tree_of_a_later_run_dies_with_the_worker_too(tmp_path):
    deaf = "trap '' INT TERM HUP; setsid sleep 1000 & echo $! $$ > pids; while :; do sleep 1; done"
    process = subprocess.Popen(worker(tmp_path, "exit 0", deaf))
    pids = tmp_path / "pids"
    eventually(lambda: pids.exists() and pids.read_text().endswith("\n"))

    process.kill()
    process.wait()

    family = [int(pid) for pid in [(tmp_path / "shim").read_text(), *pids.read_text().split()]]
    eventually(lambda: not any(alive(pid) for pid in family))


def test_an_idle_shim_ends_with_its_worker(tmp_path):
    process = subprocess.Popen(worker(tmp_path, "exit 0"))
    eventually((tmp_path / "idle").exists)
    shim = int((tmp_path / "shim").read_text())
    served = alive(shim)

    process.kill()
    process.wait()

    assert served
    eventually(lambda: not alive(shim))
