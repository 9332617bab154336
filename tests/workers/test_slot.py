import os
import re
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from builders.databases import both_databases
from sqlalchemy import select

from orchestrator.errors import SlotTaken
from orchestrator.jobs import assignments
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage import live_logs
from orchestrator.storage.tables import LogChunk, Slot
from workers.attempt.log_shipping import LogShipper
from workers.host import locks
from workers.processes.process import StopReason, StopSignal
from workers.slot import owned

CPU0 = SlotName.parse("cpu0")
QUANTIZE = {"kind": "quantize", "model": "tiny-model"}


def test_a_slot_has_one_owner_on_its_host_and_names_it(lab, cpu0):
    with (
        pytest.raises(locks.Held, match=f"locked by worker pid {os.getpid()}"),
        owned(lab.settings, lab.database, CPU0),
    ):
        pass


@both_databases
def test_a_slot_of_another_machine_that_goes_by_the_same_name_is_refused_and_its_work_is_left_alone(lab, cpu0):
    elsewhere = lab.settings.model_copy(update={"lock_dir": lab.folder / "locks of another machine"})
    cpu0.work.mkdir(parents=True)

    with pytest.raises(SlotTaken, match=cpu0.worker), owned(elsewhere, lab.database, CPU0):
        pass

    assert cpu0.work.exists()


def test_everybody_who_shares_a_folder_of_locks_has_its_domain_and_nobody_else(tmp_path):
    with ThreadPoolExecutor(8) as together:
        domains = list(together.map(locks.domain, [tmp_path / "shared"] * 8))

    assert len(set(domains)) == 1
    assert locks.domain(tmp_path / "other") not in domains


@both_databases
def test_a_slot_is_announced_while_it_is_owned_and_left_afterwards(lab):
    with owned(lab.settings, lab.database, CPU0) as slot, lab.database.read() as session:
        seen = session.get_one(Slot, "lab.cpu0")
        assert (seen.worker, seen.worker_pid) == (slot.worker, os.getpid())
        assert seen.heartbeat_at is not None

    with lab.database.read() as session:
        assert session.get_one(Slot, "lab.cpu0").heartbeat_at is None


def test_the_labels_of_a_host_are_announced_with_its_slot(lab):
    settings = lab.settings.model_copy(update={"labels": {"rack": "a"}})

    with owned(settings, lab.database, CPU0), lab.database.read() as session:
        assert session.get_one(Slot, "lab.cpu0").labels == {"rack": "a"}


@both_databases
def test_what_a_dead_worker_left_is_lost_at_once_and_cleared_away(lab):
    with owned(lab.settings, lab.database, CPU0) as dead:
        attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
        assignments.claim(lab.database, attempt_id, owner=dead.owner, lease=lab.settings.lease)
        (dead.work / "1.1" / "run").mkdir(parents=True)

    with owned(lab.settings, lab.database, CPU0) as slot:
        assert list(slot.work.glob("*")) == []

    assert lab.attempt(attempt_id).state is AttemptState.LOST
    assert lab.attempt(attempt_id).failure["reason"] == "its worker died"
    assert lab.job(attempt_id).state is JobState.QUEUED


def test_a_lock_lives_on_in_a_child_that_inherited_it(tmp_path):
    path = tmp_path / "slot.lock"
    descriptor = locks.take(path, owner="the parent")
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=[descriptor])
    os.close(descriptor)

    with pytest.raises(locks.Held, match="the parent"):
        locks.take(path, owner="another")

    child.communicate(b"\n")
    os.close(locks.take(path, owner="another"))


def test_waiting_for_a_lock_ends_when_it_is_told_to_stop_and_says_whom_it_waited_for(tmp_path):
    held = locks.take(tmp_path / "x.lock", owner="job 9")
    stop, log, got = StopSignal(), tmp_path / "log", []

    def wait():
        with locks.waited_for(tmp_path / "x.lock", owner="me", log=log, stop=stop) as lock:
            got.append(lock)

    waiting = threading.Thread(target=wait)
    waiting.start()
    stop.request(StopReason.CANCELLED)
    waiting.join(timeout=60)
    os.close(held)

    assert got == [None]


def test_a_lock_is_not_opened_through_a_link(tmp_path):
    (tmp_path / "precious").write_text("content")
    (tmp_path / "x.lock").symlink_to(tmp_path / "precious")

    with pytest.raises(OSError, match="symbolic links"):
        locks.take(tmp_path / "x.lock", owner="me")


def claimed(lab, slot):
    attempt_id = lab.assigned(QUANTIZE, slot=str(slot.name))
    assert assignments.claim(lab.database, attempt_id, owner=slot.owner, lease=lab.settings.lease)
    return attempt_id


def shipped(lab, slot, attempt_id, path, progress=None):
    shipper = LogShipper(lab.database, attempt_id, path, owner=slot.owner)
    with shipper.following(progress):
        pass
    shipper.flush()
    with lab.database.read() as session:
        return session.scalars(select(LogChunk).where(LogChunk.attempt_id == attempt_id)).all()


def test_a_log_is_shipped_byte_for_byte(lab, cpu0, tmp_path):
    attempt_id = claimed(lab, cpu0)
    raw = bytes(range(256)) * 1024
    (tmp_path / "log").write_bytes(raw)

    shipped(lab, cpu0, attempt_id, tmp_path / "log")

    with lab.database.read() as session:
        assert live_logs.read(session, attempt_id, 0, len(raw) + 1) == raw


def test_a_flood_is_thinned_and_says_so(lab, cpu0, tmp_path):
    attempt_id = claimed(lab, cpu0)
    size = 8 << 20
    (tmp_path / "log").write_bytes(b"x" * (size - 4) + b"end\n")

    chunks = shipped(lab, cpu0, attempt_id, tmp_path / "log")

    with lab.database.read() as session:
        mark = live_logs.read(session, attempt_id, 0, 200)
        assert re.match(rb"\n\[tx81\] \d+ bytes are left out of the live view\n", mark)
        assert live_logs.read(session, attempt_id, size - 4, 4) == b"end\n"
        assert live_logs.size(session, attempt_id) == size
    assert sum(chunk.size for chunk in chunks) < 2 << 20


def test_the_last_progress_in_the_log_is_the_one_that_is_told(lab, cpu0, tmp_path):
    attempt_id = claimed(lab, cpu0)
    (tmp_path / "log").write_text("layer 1 of 28\rlayer 9 of 28\rnoise")

    shipped(lab, cpu0, attempt_id, tmp_path / "log", progress=r"layer (?P<done>\d+) of (?P<total>\d+)")

    assert lab.attempt(attempt_id).progress == {"done": 9, "total": 28}
