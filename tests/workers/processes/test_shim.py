import json
import os
import select
import shutil
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
from eventually import eventually

from workers.processes import shim, tree

TERM_THEN_KILL = [(int(signal.SIGTERM), 0.3), (int(signal.SIGKILL), 1.0)]

# PR_CAPBSET_DROP, CAP_KILL: what is executed next may signal processes of its own user only.
WITHOUT_CAP_KILL = (
    sys.executable,
    "-c",
    "import ctypes, os, sys; ctypes.CDLL(None).prctl(24, 5, 0, 0, 0); os.execv(sys.argv[1], sys.argv[1:])",
)


class Shim:
    """A shim started by hand, with this process as its worker and one attempt to serve."""

    def __init__(
        self,
        folder: Path,
        script: str,
        *,
        worker: int | None = None,
        before: Sequence[str] = (),
        kept: Mapping[int, int] | None = None,
    ) -> None:
        self.link, theirs = socket.socketpair()
        control, self.control = os.pipe()
        self.status, status = os.pipe()
        with theirs:
            self.process = subprocess.Popen(
                [*before, sys.executable, "-S", "-E", "-I", shim.__file__, str(worker or os.getpid())],
                stdin=theirs,
                start_new_session=True,
            )
        log = os.open(folder / "log", os.O_CREAT | os.O_WRONLY | os.O_APPEND)
        argv, env = [b"sh", b"-c", script.encode()], {b"PATH": b"/usr/bin:/bin"}
        plan = (argv, env, os.fsencode(folder), TERM_THEN_KILL, list(kept or {}), [], None)
        tree.send(self.link, plan, [control, status, log, *(kept or {}).values()])
        for fd in (control, status, log):
            os.close(fd)
        self._facts: list[dict] = []

    def fact(self, key: str) -> object:
        """Read on until the shim has stated `key`."""
        while not (known := {name: value for fact in self._facts for name, value in fact.items()}).keys() & {key}:
            said = os.read(self.status, 4096)
            assert said, f"the shim ended without saying {key}; it said {self._facts}"
            self._facts += [json.loads(line) for line in said.splitlines()]
        return known[key]

    def close(self) -> None:
        os.close(self.control)
        self.link.close()
        self.process.wait(20)
        os.close(self.status)


@pytest.fixture
def start(tmp_path):
    shims: list[Shim] = []

    def start(script: str, **options) -> Shim:
        shims.append(Shim(tmp_path, script, **options))
        return shims[-1]

    yield start
    for one in shims:
        one.close()


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_the_tool_survives_the_thread_that_started_the_shim(start, tmp_path):
    made: list[Shim] = []
    thread = threading.Thread(target=lambda: made.append(start("while [ ! -e go ]; do sleep 0.05; done; exit 7")))
    thread.start()
    eventually(lambda: made and made[0].fact("started"))
    thread.join()
    eventually(lambda: not Path(f"/proc/self/task/{thread.native_id}").exists())

    (tmp_path / "go").touch()

    assert (made[0].fact("exit_code"), made[0].fact("stopped")) == (7, False)


def test_the_end_of_the_control_pipe_kills_the_tree(start):
    one = start("sleep 1000")
    tool = one.fact("started")

    os.close(one.control)

    assert (one.fact("signal"), one.fact("stopped")) == (signal.SIGTERM, True)
    assert not alive(tool)
    one.control = os.open(os.devnull, os.O_RDONLY)


def test_a_shim_whose_worker_died_before_it_woke_kills_the_tree(start):
    one = start("sleep 1000", worker=1 << 22)

    assert one.fact("stopped") is True
    assert one.fact("unkillable") == []


def test_a_terminated_shim_walks_the_ladder(start):
    one = start("sleep 1000")
    one.fact("started")

    one.process.terminate()

    assert one.fact("signal") == signal.SIGTERM


def test_the_parent_death_signal_alone_stops_nothing_while_the_worker_lives(start, tmp_path):
    one = start("while [ ! -e go ]; do sleep 0.05; done")
    one.fact("started")

    one.process.send_signal(signal.SIGUSR1)
    (tmp_path / "go").touch()

    assert (one.fact("exit_code"), one.fact("stopped")) == (0, False)


def test_a_shim_without_a_plan_ends_quietly():
    link, theirs = socket.socketpair()
    link.close()

    with theirs:
        ended = subprocess.run(
            [sys.executable, "-S", "-E", "-I", shim.__file__, str(os.getpid())],
            stdin=theirs,
            capture_output=True,
            check=False,
        )

    assert (ended.returncode, ended.stdout, ended.stderr) == (0, b"", b"")


def test_an_idle_shim_ends_when_it_is_terminated(start):
    one = start("exit 0")
    one.fact("strays")

    one.process.terminate()

    assert one.process.wait(20) == 0


def test_a_shim_that_will_end_says_so_before_the_attempt_does(start):
    one = start("sleep 1000")
    one.fact("started")

    one.process.terminate()
    one.fact("strays")
    while os.read(one.status, 4096):
        pass

    assert select.select([one.link], [], [], 0)[0] == [one.link]
    assert one.link.recv(1) == b""


def test_kept_descriptors_get_their_numbers_though_the_shim_uses_them_itself(start, tmp_path):
    files = {number: os.open(tmp_path / str(number), os.O_CREAT | os.O_RDONLY) for number in [*range(3, 20), 400]}

    numbers = [str(number) for number in files]

    one = start(f"for n in 0 1 2 {' '.join(numbers)}; do readlink /proc/$$/fd/$n; done", kept=files)
    for fd in files.values():
        os.close(fd)
    one.fact("strays")

    opened = (tmp_path / "log").read_text().splitlines()
    assert [Path(file).name for file in opened] == ["null", "log", "log", *numbers]


def test_adopted_orphans_are_buried_while_the_tool_runs(start, tmp_path):
    one = start("for i in 1 2 3; do (sh -c 'exit 0' &); done; touch made; while [ ! -e go ]; do sleep 0.05; done")
    tool = one.fact("started")
    eventually((tmp_path / "made").exists)

    children = Path(f"/proc/{one.process.pid}/task/{one.process.pid}/children")
    eventually(lambda: children.read_text().split() == [str(tool)])

    (tmp_path / "go").touch()
    assert one.fact("strays") == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a process that its parent may not signal")
def test_a_process_that_cannot_be_killed_is_reported_and_not_waited_for(start, tmp_path):
    become_nobody = "import os; os.setresuid(99, 99, 99); os.write(1, b'x'); os.execv('/bin/sleep', ['sleep', '99'])"
    one = start(f'{sys.executable} -I -S -c "{become_nobody}" > ready & sleep 99', before=[*WITHOUT_CAP_KILL])
    eventually(lambda: (tmp_path / "ready").exists() and (tmp_path / "ready").read_text())

    os.write(one.control, shim.STOP)

    (survivor,) = one.fact("unkillable")
    try:
        assert one.fact("signal") == signal.SIGTERM
        assert one.process.wait(20) == 0
        assert alive(survivor)
    finally:
        os.kill(survivor, signal.SIGKILL)


def test_descendants_come_parents_first_and_by_whatever_name(tmp_path):
    odd = tmp_path / "a) Z 1 (b"
    shutil.copy("/bin/sleep", odd)
    child = subprocess.Popen(["sh", "-c", '"$1" 1000; :', "sh", odd])
    try:
        (grandchild,) = eventually(lambda: shim.descendants(child.pid))

        both = [pid for pid in shim.descendants(os.getpid()) if pid in (child.pid, grandchild)]

        assert both == [child.pid, grandchild]
    finally:
        child.kill()
        os.kill(grandchild, signal.SIGKILL)
        child.wait()


def test_a_zombie_is_no_living_descendant():
    child = subprocess.Popen(["true"])

    eventually(lambda: child.pid not in shim.descendants(os.getpid()))

    assert alive(child.pid)
    child.wait()
