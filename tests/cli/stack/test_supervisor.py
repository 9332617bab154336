import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from eventually import eventually

from cli.stack.supervisor import (
    AlreadyRunning,
    Service,
    ServiceEvent,
    ServiceFailed,
    Supervisor,
    What,
    in_order,
    restart_delay,
    sole_user_of,
)

pytestmark = pytest.mark.slow

FOREVER = "import signal; signal.pause()"
STUBBORN = (
    "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True)\n"
    "while True: signal.pause()"
)


def a_service(name: str, code: str = FOREVER, **facts) -> Service:
    return Service(name=name, argv=(sys.executable, "-I", "-S", "-c", code), **facts)


def wrote(log_dir: Path, name: str, text: str) -> Callable[[], bool]:
    return lambda: (log_dir / f"{name}.log").exists() and text in (log_dir / f"{name}.log").read_text()


def is_gone(pid: int) -> bool:
    """Whether no such process runs; one that is dead and not yet reaped by its new parent counts as gone."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return True


class Diary(list[ServiceEvent]):
    """What happened, in order."""

    def happened(self, what: What) -> list[str]:
        return [event.service for event in self if event.what is what]

    def pid(self, service: str) -> int:
        return next(event.pid for event in reversed(self) if event.service == service and event.pid)


@pytest.fixture
def diary() -> Diary:
    return Diary()


@pytest.fixture
def supervisor(tmp_path: Path, diary: Diary) -> Callable[..., Supervisor]:
    return lambda *services: Supervisor(services, tmp_path / "logs", diary.append)


def test_services_start_after_what_they_need_is_ready_and_stop_before_it(supervisor, diary, tmp_path):
    ready = tmp_path / "ready"
    slow = a_service("slow", f"open({str(ready)!r}, 'w'); {FOREVER}", ready=ready.exists)

    with supervisor(a_service("last", needs=("middle",)), a_service("middle", needs=("slow",)), slow):
        pass

    told = [(event.service, event.what) for event in diary if event.what in {What.STARTED, What.READY}]
    assert told == [(name, what) for name in ("slow", "middle", "last") for what in (What.STARTED, What.READY)]
    assert diary.happened(What.STOPPING) == diary.happened(What.STOPPED) == ["last", "middle", "slow"]
    assert all(is_gone(diary.pid(name)) for name in ("slow", "middle", "last"))


def test_a_service_is_told_nothing_that_the_callers_shell_holds_for_other_projects(supervisor, tmp_path, monkeypatch):
    monkeypatch.setenv("CELERY_BROKER_URL", "redis://theirs")
    monkeypatch.setenv("PYTHONPATH", "/theirs")
    monkeypatch.setenv("TX81_LEASE", "61")
    listing = a_service("listing", f"import os; print(*sorted(os.environ), flush=True); {FOREVER}", env={"OWN": "1"})

    with supervisor(listing):
        eventually(wrote(tmp_path / "logs", "listing", "\n"))

    told = (tmp_path / "logs/listing.log").read_text().split()
    assert {"OWN", "TX81_LEASE", "PATH"} <= set(told)
    assert not {"CELERY_BROKER_URL", "PYTHONPATH"} & set(told)


def test_a_service_that_dies_before_it_is_ready_ends_the_start_with_its_last_words(supervisor, diary):
    broken = a_service("broken", "print('配置错误: no such port'); raise SystemExit(3)", ready=lambda: False)

    with pytest.raises(ServiceFailed, match=r"broken ended with exit 3 before it was ready.*\n.*配置错误"):
        supervisor(a_service("sound"), broken).run()

    assert diary.happened(What.STOPPED) == ["sound"]
    assert is_gone(diary.pid("sound"))


def test_last_words_are_those_of_this_start(supervisor, tmp_path):
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs/broken.log").write_text("old trouble\n")

    with pytest.raises(ServiceFailed, match="it wrote nothing") as caught:
        supervisor(a_service("broken", "raise SystemExit(3)", ready=lambda: False)).run()

    assert "old trouble" not in str(caught.value)


def test_a_service_that_never_becomes_ready_ends_the_start(supervisor, diary):
    asleep = a_service("asleep", ready=lambda: False, ready_within=timedelta(seconds=0.2))

    with pytest.raises(ServiceFailed, match=r"asleep was not ready within 0\.2 s"):
        supervisor(asleep).run()

    assert is_gone(diary.pid("asleep"))


def test_a_log_is_put_aside_before_it_fills_the_disk_and_its_process_writes_on(supervisor, tmp_path, monkeypatch):
    monkeypatch.setattr("cli.stack.supervisor.MOST_LOG_BYTES", 10_000)
    logs = tmp_path / "logs"
    talking = a_service("talking", "import time\nwhile True: print('x' * 99, flush=True); time.sleep(0.001)")

    with supervisor(talking):
        eventually((logs / "talking.log.1").exists)
        first = (logs / "talking.log.1").stat().st_mtime_ns
        assert eventually(lambda: (logs / "talking.log.1").stat().st_mtime_ns > first)

    assert set((logs / "talking.log").read_text().split()) | {"x" * 99} == {"x" * 99}
    assert sorted(file.name for file in logs.iterdir()) == ["talking.log", "talking.log.1"]


def test_a_program_that_is_not_there_is_named(supervisor):
    missing = Service(name="missing", argv=("/no/such/program",), ready=lambda: False)

    with pytest.raises(ServiceFailed, match="cannot start /no/such/program: No such file"):
        supervisor(missing).run()


def test_a_service_that_dies_is_started_again_and_this_is_told(supervisor, diary):
    with supervisor(a_service("mortal"), a_service("other")):
        first = diary.pid("mortal")
        os.kill(first, signal.SIGKILL)
        second = eventually(lambda: len(diary.happened(What.READY)) == 3 and diary.pid("mortal"))

        assert second != first
        assert diary.happened(What.DIED) == diary.happened(What.RESTARTING) == ["mortal"]
        assert [event.detail for event in diary if event.what is What.DIED] == ["was killed by SIGKILL"]
        assert not is_gone(second)


def test_a_service_that_must_not_be_restarted_ends_the_stack(supervisor, diary):
    stack = supervisor(a_service("once", restart=False), a_service("other"))
    killer = threading.Thread(
        target=lambda: (eventually(lambda: diary.happened(What.READY)), os.kill(diary[0].pid, signal.SIGKILL))
    )
    killer.start()

    with pytest.raises(ServiceFailed, match="once was killed by SIGKILL"):
        stack.run()

    killer.join()
    assert is_gone(diary.pid("other"))


def test_what_a_service_leaves_in_its_group_goes_with_it(supervisor, diary, tmp_path):
    fork = f"subprocess.Popen([sys.executable, '-c', {STUBBORN!r}])"
    parent = f"import subprocess, sys; print(({fork}).pid, flush=True); {FOREVER}"

    with supervisor(a_service("parent", parent, ready=wrote(tmp_path / "logs", "parent", "deaf"))):
        grandchild = int((tmp_path / "logs/parent.log").read_text().split()[0])
        assert not is_gone(grandchild)

    eventually(lambda: is_gone(grandchild))


def test_a_service_deaf_to_its_stop_signal_is_killed_after_its_grace(supervisor, diary, tmp_path):
    deaf = a_service(
        "deaf", STUBBORN, ready=wrote(tmp_path / "logs", "deaf", "deaf"), stop_grace=timedelta(seconds=0.2)
    )

    with supervisor(deaf):
        pass

    assert [event.what for event in diary][-3:] == [What.STOPPING, What.KILLED, What.STOPPED]
    assert is_gone(diary.pid("deaf"))


def test_a_service_gets_its_own_stop_signal(supervisor, diary, tmp_path):
    listen = "import signal, sys; signal.signal(signal.SIGQUIT, lambda *_: sys.exit(42)); print('up', flush=True)"
    code = f"{listen}; {FOREVER}"
    service = a_service("polite", code, ready=wrote(tmp_path / "logs", "polite", "up"), stop_signal=signal.SIGQUIT)

    with supervisor(service):
        pass

    assert diary[-1].detail == "ended with exit 42"


def test_an_error_in_the_body_stops_the_stack(supervisor, diary):
    with pytest.raises(ZeroDivisionError), supervisor(a_service("bystander")):
        _ = 1 / 0

    assert is_gone(diary.pid("bystander"))


def test_a_service_sees_its_own_environment_on_top_of_ours(supervisor, tmp_path, monkeypatch):
    monkeypatch.setenv("TX81_OURS", "ours")
    code = f"import os; print(os.environ['TX81_OURS'], os.environ['TX81_ITS'], os.getcwd(), flush=True); {FOREVER}"
    expected = f"ours 它的 {tmp_path}"
    service = a_service("child", code, env={"TX81_ITS": "它的"}, cwd=tmp_path)

    with supervisor(service):
        eventually(wrote(tmp_path / "logs", "child", expected))

    assert (tmp_path / "logs/child.log").read_text().strip() == expected


@pytest.fixture
def stack_process(tmp_path):
    """A supervisor in a process of its own; yields it and the pids of its two services, one of them deaf to SIGTERM."""
    script = f"""
import sys
from datetime import timedelta
from pathlib import Path
sys.path[:0] = [{str(Path(__file__).parents[3])!r}]
from cli.stack.supervisor import Service, Supervisor
def service(name, code, **facts):
    return Service(name=name, argv=(sys.executable, "-I", "-S", "-c", code), **facts)
heard = lambda: "deaf" in Path({str(tmp_path / "logs/deaf.log")!r}).read_text()
deaf = service("deaf", {STUBBORN!r}, ready=heard, stop_grace=timedelta(hours=1))
services = [service("good", {FOREVER!r})] + ([deaf] if sys.argv[1] == "deaf" else [])
tell = lambda event: print(event.what.value, event.service, event.pid, flush=True)
Supervisor(services, Path({str(tmp_path / "logs")!r}), tell).run()
print("over", flush=True)
"""
    started = []

    def start(kind: str) -> tuple[subprocess.Popen, list[int]]:
        process = subprocess.Popen(
            [sys.executable, "-c", script, kind], stdout=subprocess.PIPE, text=True, bufsize=1, start_new_session=True
        )
        started.append(process)
        pids = []
        while len(pids) < (2 if kind == "deaf" else 1):
            what, _, pid = process.stdout.readline().split()
            if what == "ready":
                pids.append(int(pid))
        return process, pids

    yield start
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_no_child_outlives_a_supervisor_killed_by_sigkill(stack_process):
    process, pids = stack_process("deaf")

    process.kill()

    eventually(lambda: all(map(is_gone, pids)))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_stops_the_stack_in_order(stack_process, number):
    process, pids = stack_process("good")

    process.send_signal(number)

    assert process.stdout.read().splitlines() == [f"stopping good {pids[0]}", f"stopped good {pids[0]}", "over"]
    assert process.wait() == 0
    assert all(map(is_gone, pids))


def test_a_second_interrupt_kills_at_once(stack_process):
    process, pids = stack_process("deaf")
    process.send_signal(signal.SIGINT)
    while not process.stdout.readline().startswith("stopping deaf"):
        pass

    process.send_signal(signal.SIGINT)

    assert process.stdout.read().endswith("over\n")
    assert process.wait() == 0
    assert all(map(is_gone, pids))


def test_two_stacks_cannot_use_one_state_folder(tmp_path):
    hold = (
        f"import sys, signal; sys.path[:0] = [{str(Path(__file__).parents[3])!r}]\n"
        "from pathlib import Path; from cli.stack.supervisor import sole_user_of\n"
        "with sole_user_of(Path(sys.argv[1])): print('held', flush=True); signal.pause()\n"
    )
    with subprocess.Popen([sys.executable, "-c", hold, tmp_path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"

        with (
            pytest.raises(AlreadyRunning, match=f"already running in {tmp_path}, pid {holder.pid}:"),
            sole_user_of(tmp_path),
        ):
            pass

        holder.kill()
        holder.wait()

    with sole_user_of(tmp_path):
        assert (tmp_path / "stack.lock").read_text() == f"{os.getpid()}\n"


@pytest.mark.parametrize(
    ("services", "trouble"),
    [
        ([a_service("a"), a_service("a")], "one name"),
        ([a_service("a", needs=("b",))], "needs b"),
        ([a_service("a", needs=("b",)), a_service("b", needs=("a",))], "cycle"),
        ([a_service("../../etc/cron")], "cannot be the name"),
    ],
)
def test_services_that_make_no_order_are_refused(services, trouble):
    with pytest.raises(ValueError, match=trouble):
        in_order(services)


def test_restarts_come_slower_and_slower_but_never_stop():
    assert [restart_delay(deaths) for deaths in (1, 2, 3, 7, 100_000)] == [0.5, 1.0, 2.0, 30.0, 30.0]
