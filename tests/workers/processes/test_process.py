import fcntl
import os
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path

import pytest
from eventually import eventually

from workers.processes.process import Command, KillStep, Limits, Outcome, StopReason, StopSignal, run
from workers.processes.tree import ShimLostError

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[3]
PATH = {"PATH": "/usr/local/bin:/usr/bin:/bin"}
SOON = timedelta(seconds=0.3)
NEVER = timedelta(hours=1)
LADDER = (KillStep(signal.SIGINT, SOON), KillStep(signal.SIGTERM, SOON), KillStep(signal.SIGKILL, SOON))
PATIENT = (KillStep(signal.SIGINT, NEVER), KillStep(signal.SIGTERM, NEVER))

DEAF = "trap '' INT TERM HUP; echo $$ >> pids; while :; do sleep 1; done"
DEAF_QUOTED = DEAF.replace("$", r"\$")
FAMILY = f"""
sleep 1000 & echo $! >> pids
setsid sh -c 'echo $$ >> pids; exec sleep 1000' &
(setsid sh -c 'echo $$ >> pids; exec sleep 1000' &)
sh -c "{DEAF_QUOTED}" &
"""


class Bench:
    """A working folder, a log and a stop signal for one run, which may go on in a thread."""

    def __init__(self, folder: Path, pool: ThreadPoolExecutor) -> None:
        self.folder = folder
        self.log = folder / "log"
        self.stop = StopSignal()
        self.started: list[int] = []
        self._pool = pool

    def run(self, *argv: str, env=PATH, cwd=None, ladder=LADDER, limits=None, **options) -> Outcome:
        return run(
            Command(argv, env, cwd or self.folder),
            log=self.log,
            limits=limits or Limits(),
            ladder=ladder,
            stop=self.stop,
            **{"on_started": self.started.append} | options,
        )

    def begin(self, *argv: str, **options):
        return self._pool.submit(self.run, *argv, **options)

    def pids(self, count: int) -> list[int]:
        file = self.folder / "pids"
        eventually(lambda: file.exists() and file.read_text().count("\n") >= count)
        return [int(line) for line in file.read_text().split()]


@pytest.fixture
def bench(tmp_path):
    with ThreadPoolExecutor() as pool:
        bench = Bench(tmp_path, pool)
        yield bench
        bench.stop.request(StopReason.SHUTDOWN, within=timedelta(0))


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[0] not in b"ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()[1])


# How it ended


@pytest.mark.parametrize("code", [0, 3, 127, 255])
def test_the_exit_code_is_passed_on(bench, code):
    outcome = bench.run("sh", "-c", f"exit {code}")

    assert (outcome.exit_code, outcome.signal, outcome.stopped, outcome.launch_error) == (code, None, None, None)
    assert [outcome.pid] == bench.started


@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGKILL, signal.SIGTERM])
def test_a_signal_is_told_apart_from_an_exit_code(bench, number):
    outcome = bench.run("sh", "-c", f"ulimit -c 0; kill -{int(number)} $$")

    assert (outcome.exit_code, outcome.signal, outcome.stopped) == (None, number, None)


def test_a_missing_program_is_named(bench):
    outcome = bench.run("tsm-no-such-tool", "-x")

    assert outcome.launch_error == "cannot execute 'tsm-no-such-tool': No such file or directory"
    assert (outcome.exit_code, outcome.signal, outcome.pid, bench.started) == (None, None, 0, [])


def test_a_program_without_permission_is_named(bench):
    (bench.folder / "tool").write_text("#!/bin/sh\n")

    outcome = bench.run("./tool")

    assert outcome.launch_error == "cannot execute './tool': Permission denied"


def test_a_missing_working_folder_is_named(bench):
    outcome = bench.run("true", cwd=bench.folder / "没有")

    assert outcome.launch_error == f"cannot enter the working folder '{bench.folder}/没有': No such file or directory"


@pytest.mark.parametrize("argv", [(), ("",), ("true", "a\0b")])
def test_an_impossible_command_is_a_launch_error(bench, argv):
    outcome = bench.run(*argv)

    assert outcome.launch_error is not None


# What the tool gets


def test_the_environment_is_exactly_what_was_given(bench, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_WORKER", "x")

    bench.run("/usr/bin/env", env={"ONLY": "this", "模型": "千问"})

    assert sorted(bench.log.read_text().splitlines()) == ["ONLY=this", "模型=千问"]


def test_the_program_is_found_on_the_path_that_was_given(bench):
    tool = bench.folder / "bin" / "tsm-tool"
    tool.parent.mkdir()
    tool.write_text("#!/bin/sh\nexit 42\n")
    tool.chmod(0o755)

    outcome = bench.run("tsm-tool", env={"PATH": str(tool.parent)})

    assert outcome.exit_code == 42


def test_the_working_folder_is_the_one_given(bench):
    bench.run("pwd", "-P")

    assert bench.log.read_text() == f"{bench.folder.resolve()}\n"


def test_arguments_arrive_byte_for_byte(bench):
    words = ["$HOME; `id`", "两 个", os.fsdecode(b"\xff\xfe"), ""]

    bench.run("printf", "[%s]", *words)

    assert bench.log.read_bytes() == b"[$HOME; `id`]" + "[两 个]".encode() + b"[\xff\xfe][]"


def test_no_descriptor_but_the_kept_ones_reaches_the_tool(bench):
    script = """
import os
def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True
print([fd for fd in range(256) if is_open(fd)])
"""
    kept = os.open(bench.folder, os.O_RDONLY)
    try:
        bench.run(sys.executable, "-I", "-S", "-c", script, keep_fds=[kept])
    finally:
        os.close(kept)

    assert bench.log.read_text() == f"[0, 1, 2, {kept}]\n"


def test_there_is_nothing_to_read_on_stdin(bench):
    assert bench.run("cat").exit_code == 0


def test_output_and_errors_are_appended_as_they_are(bench):
    bench.log.write_bytes(b"before\n")

    bench.run("sh", "-c", r"printf '\377\376out '; printf 'err\000' >&2")

    assert bench.log.read_bytes() == b"before\n\xff\xfeout err\0"


def test_a_link_in_place_of_the_log_is_refused(bench):
    bench.log.symlink_to(bench.folder / "elsewhere")

    with pytest.raises(OSError, match="symbolic links"):
        bench.run("true")


def test_signals_have_their_defaults_though_the_worker_ignores_and_blocks_them(bench):
    driver = """
import signal
signal.signal(signal.SIGINT, signal.SIG_IGN)
signal.signal(signal.SIGCHLD, signal.SIG_DFL)
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
"""
    subprocess.run(driving(bench.folder, "grep -E 'Sig(Blk|Ign)' /proc/self/status", before=driver), check=True)

    # The C library keeps signals 32 and 33 to itself: no program can set them, and some environments ignore one.
    usable = sum(1 << (number - 1) for number in signal.valid_signals())
    assert [int(line.split()[1], 16) & usable for line in bench.log.read_text().splitlines()] == [0, 0]


# Stopping


def test_a_stop_from_another_thread_ends_the_tool(bench):
    future = bench.begin("sleep", "1000", ladder=PATIENT)
    eventually(lambda: bench.started)

    bench.stop.request(StopReason.CANCELLED)
    outcome = future.result(20)

    assert (outcome.signal, outcome.stopped) == (signal.SIGINT, StopReason.CANCELLED)
    assert not alive(outcome.pid)


def test_the_first_reason_wins(bench):
    future = bench.begin("sleep", "1000")
    eventually(lambda: bench.started)

    bench.stop.request(StopReason.SHUTDOWN)
    bench.stop.request(StopReason.CANCELLED)

    assert future.result(20).stopped is bench.stop.reason is StopReason.SHUTDOWN


def test_a_stop_that_came_before_the_start_starts_nothing(bench):
    bench.stop.request(StopReason.CANCELLED)

    outcome = bench.run("touch", "ran")

    assert (outcome.stopped, outcome.pid) == (StopReason.CANCELLED, 0)
    assert not (bench.folder / "ran").exists()


def test_a_stop_that_came_after_the_end_of_the_tool_hurries_its_strays_and_is_no_stop(bench):
    future = bench.begin("sh", "-c", f'sh -c "{DEAF_QUOTED}" & while [ ! -s pids ]; do :; done', ladder=PATIENT)
    (stray,) = bench.pids(1)
    eventually(lambda: not alive(bench.started[0]))

    bench.stop.request(StopReason.CANCELLED, within=timedelta(0))

    outcome = future.result(20)
    assert (outcome.exit_code, outcome.stopped, bench.stop.reason) == (0, None, StopReason.CANCELLED)
    assert outcome.strays >= 1
    assert not alive(stray)


def test_a_tool_may_end_by_itself_on_the_first_rung(bench):
    future = bench.begin("sh", "-c", "trap 'exit 7' INT; touch ready; while :; do sleep 0.05; done", ladder=PATIENT)
    eventually((bench.folder / "ready").exists)

    bench.stop.request(StopReason.CANCELLED)

    outcome = future.result(20)
    assert (outcome.exit_code, outcome.signal, outcome.stopped) == (7, None, StopReason.CANCELLED)


def test_nobody_of_the_tree_survives_a_stop(bench):
    future = bench.begin("sh", "-c", FAMILY + DEAF)
    family = bench.pids(5)

    bench.stop.request(StopReason.CANCELLED)
    outcome = future.result(20)

    assert (outcome.signal, outcome.unkillable) == (signal.SIGKILL, ())
    assert [pid for pid in family if alive(pid)] == []


def test_a_stopped_process_still_gets_its_signal(bench):
    future = bench.begin("sh", "-c", "kill -STOP $$", ladder=PATIENT)
    eventually(lambda: bench.started and b") T" in Path(f"/proc/{bench.started[0]}/stat").read_bytes())

    bench.stop.request(StopReason.CANCELLED)

    assert future.result(20).signal == signal.SIGINT


def test_what_the_tool_leaves_behind_is_killed_and_counted(bench):
    outcome = bench.run("sh", "-c", FAMILY + "while [ $(wc -l < pids) -lt 4 ]; do sleep 0.05; done; exit 5")

    assert (outcome.exit_code, outcome.stopped, outcome.unkillable) == (5, None, ())
    assert outcome.strays >= 4
    assert [pid for pid in bench.pids(4) if alive(pid)] == []


def test_a_later_request_can_cut_the_ladder_short(bench):
    future = bench.begin("sh", "-c", DEAF, ladder=PATIENT)
    bench.pids(1)

    bench.stop.request(StopReason.CANCELLED)
    bench.stop.request(StopReason.LEASE_LOST, within=timedelta(seconds=0.1))

    outcome = future.result(20)
    assert (outcome.signal, outcome.stopped) == (signal.SIGKILL, StopReason.CANCELLED)


def test_an_error_of_a_callback_kills_the_tree_first(bench):
    def fail(pid: int) -> None:
        bench.started.append(pid)
        raise LookupError("the caller's own")

    with pytest.raises(LookupError, match="own"):
        bench.run("sleep", "1000", on_started=fail)

    assert not alive(bench.started[0])


# Limits


def test_the_run_limit_stops_a_tool_that_talks_on(bench):
    outcome = bench.run("sh", "-c", "while :; do echo; sleep 0.05; done", limits=Limits(run=SOON, silence=NEVER))

    assert outcome.stopped is bench.stop.reason is StopReason.RUN_LIMIT


def test_silence_stops_a_tool_that_was_heard_before(bench):
    outcome = bench.run("sh", "-c", "echo once; exec sleep 1000", limits=Limits(run=NEVER, silence=SOON))

    assert outcome.stopped is StopReason.SILENCE
    assert bench.log.read_text() == "once\n"


def test_a_log_that_grows_too_large_stops_the_tool_and_is_kept(bench):
    limits = Limits(log_bytes=100_000)

    outcome = bench.run("yes", limits=limits)

    assert outcome.stopped is StopReason.LOG_LIMIT
    assert bench.log.stat().st_size > 100_000


def test_a_tool_that_floods_on_while_it_is_stopped_is_killed_at_once(bench):
    outcome = bench.run("sh", "-c", "trap '' INT TERM; exec yes", limits=Limits(log_bytes=100_000), ladder=PATIENT)

    assert (outcome.signal, outcome.stopped) == (signal.SIGKILL, StopReason.LOG_LIMIT)


def test_the_growth_of_the_log_is_told_up_to_its_end(bench):
    sizes: list[int] = []

    bench.run("sh", "-c", "printf 12345; exit 0", on_growth=sizes.append)

    assert sizes[-1] == 5


# Death of those above


def driving(folder: Path, script: str, *, before: str = "", lock: Path | None = None) -> list[str]:
    """The command of a worker process that runs one shell script and does nothing else."""
    source = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
{before}
from datetime import timedelta
from pathlib import Path
from workers.processes.process import *
folder = Path({str(folder)!r})
ladder = [KillStep(15, timedelta(seconds=0.3))]
command = Command(("sh", "-c", {script!r}), {PATH!r}, folder)
run(command, log=folder / "log", limits=Limits(), ladder=ladder, stop=StopSignal())
"""
    return [sys.executable, "-c", source]


def test_the_tree_dies_with_its_worker(bench):
    worker = subprocess.Popen(driving(bench.folder, FAMILY + DEAF))
    family = bench.pids(5)
    shim = parent_of(family[-1])

    worker.kill()
    worker.wait()

    eventually(lambda: not any(alive(pid) for pid in [shim, *family]))


def test_a_shim_that_was_killed_is_a_fault_and_takes_the_tool_with_it(bench):
    future = bench.begin("sleep", "1000")
    eventually(lambda: bench.started)

    os.kill(parent_of(bench.started[0]), signal.SIGKILL)

    with pytest.raises(ShimLostError) as lost:
        future.result(20)
    assert lost.value.pid == bench.started[0]
    eventually(lambda: not alive(bench.started[0]))


def test_a_survivor_of_everything_still_holds_the_lock(bench):
    lock = os.open(bench.folder / "lock", os.O_CREAT | os.O_RDWR)
    fcntl.flock(lock, fcntl.LOCK_EX)
    future = bench.begin("setsid", "-w", "sh", "-c", "echo $$ >> pids; exec sleep 1000", keep_fds=[lock])
    (survivor,) = bench.pids(1)
    os.close(lock)

    os.kill(parent_of(bench.started[0]), signal.SIGKILL)
    with pytest.raises(ShimLostError):
        future.result(20)

    assert alive(survivor)
    assert not can_lock(bench.folder / "lock")
    os.kill(survivor, signal.SIGKILL)
    eventually(lambda: can_lock(bench.folder / "lock"))


def can_lock(path: Path) -> bool:
    with path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


def test_a_tool_that_ends_before_it_has_settled_is_not_announced(bench):
    brief = bench.run("true", settle=timedelta(minutes=1))

    assert brief.pid > 0
    assert bench.started == []


def test_a_tool_that_has_settled_is_announced_while_it_runs(bench):
    going = bench.begin("sleep", "1000", settle=timedelta(seconds=0.3))

    eventually(lambda: bench.started)
    bench.stop.request(StopReason.CANCELLED)

    assert going.result().pid == bench.started[0]
