"""What a host lacks ends no job and speaks against no slot: the job goes back, and the host is held out for a while."""

import errno
import os
import shutil
import socket
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta

import pytest
from eventually import eventually
from sqlalchemy import select, update

from orchestrator.model.demand import Demand
from orchestrator.model.failures import FailureKind
from orchestrator.model.lacks import DISK, PORT
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState, ServiceState
from orchestrator.scheduling import queue
from orchestrator.storage.artifacts import StoreFull
from orchestrator.storage.tables import Slot
from workers import lacks as host_lacks
from workers.host import disk
from workers.slot import owned

QUANTIZE = {"kind": "quantize", "model": "tiny-model"}
NO_DISK_IS_SO_LARGE = 1 << 62


def on_a_full_disk(slot):
    return replace(slot, settings=slot.settings.model_copy(update={"disk_reserve": NO_DISK_IS_SO_LARGE}))


def slot_row(lab, name="cpu0"):
    with lab.database.read() as session:
        return session.get_one(Slot, f"lab.{name}")


def assert_given_back(lab, attempt_id, reason):
    attempt = lab.attempt(attempt_id)
    assert (attempt.state, attempt.failure["kind"]) == (AttemptState.LOST, FailureKind.STOPPED)
    assert reason in attempt.failure["reason"]
    assert attempt.suspicion is None
    assert lab.job(attempt_id).state is JobState.QUEUED
    assert slot_row(lab, attempt.slot_id.removeprefix("lab.")).service_state is ServiceState.IN_SERVICE


@pytest.mark.parametrize(
    "tool",
    ["echo trouble; exit 1", "cat /proc/version > /dev/full", "exit 0", "kill -9 $$"],
    ids=["fails by itself", "has no room", "leaves no output", "is killed"],
)
def test_a_tool_that_fails_on_a_full_disk_is_not_judged(lab, cpu0, tool):
    lab.tool(tool)
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, on_a_full_disk(cpu0))

    assert_given_back(lab, attempt_id, "disk full")
    lack = slot_row(lab).lacks[DISK]
    assert "TX81_DISK_RESERVE" in lack["why"]
    assert lack["until"] > lack["since"]


def test_a_tool_that_succeeds_on_a_disk_that_is_almost_full_has_succeeded(lab, cpu0):
    lab.tool('touch "$2/x.gm"')
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, on_a_full_disk(cpu0))

    assert lab.job(attempt_id).state is JobState.SUCCEEDED


def test_a_cancelled_job_is_cancelled_on_a_full_disk_too(lab, cpu0):
    lab.tool(f"touch {lab.folder}/up; sleep 600")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")
    running = lab.run_aside(attempt_id, on_a_full_disk(cpu0))
    eventually((lab.folder / "up").exists)

    lab.cancel(attempt_id)
    running.join(60)

    assert lab.job(attempt_id).state is JobState.CANCELLED


@pytest.mark.parametrize("trouble", [OSError(errno.ENOSPC, "x"), OSError(errno.EDQUOT, "x"), StoreFull("x")])
def test_a_full_disk_is_a_lack_wherever_the_worker_meets_it(lab, trouble):
    full = lab.settings.model_copy(update={"disk_reserve": NO_DISK_IS_SO_LARGE})

    assert host_lacks.lack_of(trouble, full, release="tiny", own=lab.folder / "own").name == DISK
    assert host_lacks.lack_of(trouble, lab.settings, release="tiny", own=lab.folder / "own") is None
    assert host_lacks.lack_of(OSError(errno.EIO, "x"), full, release="tiny", own=lab.folder) is None


def test_what_an_attempt_has_written_itself_is_not_held_against_the_host(tmp_path):
    own = tmp_path / "own"
    own.mkdir()
    with (own / "large").open("wb") as large:
        os.posix_fallocate(large.fileno(), 0, 512 << 20)
    reserve = shutil.disk_usage(tmp_path).free + (256 << 20)

    assert disk.shortage([tmp_path], reserve) is not None
    assert disk.shortage([tmp_path], reserve, own=own) is None


def test_a_server_without_a_free_port_goes_back_and_only_servers_are_kept_away(lab, g0, serve):
    with socket.create_server(("", 0)) as taken:
        port = taken.getsockname()[1]
        settings = g0.settings.model_copy(update={"serve_ports": (port, port)})
        attempt_id = serve()

        lab.run(attempt_id, replace(g0, settings=settings))

    assert_given_back(lab, attempt_id, "no port from")
    assert set(slot_row(lab, "g0").lacks) == {PORT}
    with lab.database.read() as session:
        slots = queue.supply(session, lab.database.now(session), timedelta(hours=1))
    (free,) = [slot for slot in slots.free if slot.id == "lab.g0"]
    assert Demand.parse("card_group serve").misses(free)
    assert not Demand.parse("card_group").misses(free)


@pytest.fixture
def serve(lab):
    def assigned():
        kcore = lab.stored_tree("kcore", {"kcore.bin": "image"})
        spec = {"kind": "serve", "model": "tiny-model", "kcore": {"digest": kcore}, "groups": 1}
        return lab.assigned(spec, {"kcore": kcore}, slot="g0")

    return assigned


def test_a_release_whose_folder_is_not_mounted_keeps_its_jobs_away_until_it_is_back(lab, cpu0):
    (lab.folder / "release").rename(lab.folder / "elsewhere")
    attempt_id = lab.assigned(QUANTIZE, slot="cpu0")

    lab.run(attempt_id, cpu0)

    assert_given_back(lab, attempt_id, "release tiny is not at")
    with looked_for_at_once(lab):
        assert still_lacks(lab, cpu0, "tiny")
        (lab.folder / "elsewhere").rename(lab.folder / "release")
        eventually(lambda: slot_row(lab).lacks is None)


@contextmanager
def looked_for_at_once(lab):
    """Every pause is over."""
    with lab.database.write() as session:
        for slot in session.scalars(select(Slot)):
            lacks = {name: {**lack, "until": lack["since"]} for name, lack in (slot.lacks or {}).items()}
            session.execute(update(Slot).where(Slot.id == slot.id).values(lacks=lacks or None))
    yield


def still_lacks(lab, slot, name):
    return host_lacks.still_lacks(name, lab.settings, lab.database, slot.shim)


def test_a_worker_ends_the_lack_of_its_host_when_there_is_room_again(lab, cpu0):
    lab.tool("exit 1")
    lab.run(lab.assigned(QUANTIZE, slot="cpu0"), on_a_full_disk(cpu0))
    assert slot_row(lab).lacks is not None

    with looked_for_at_once(lab):
        eventually(lambda: slot_row(lab).lacks is None)


def test_a_lack_that_lasts_is_looked_for_after_longer_and_longer_pauses(lab):
    short = lab.settings.model_copy(update={"disk_reserve": NO_DISK_IS_SO_LARGE})
    with owned(short, lab.database, SlotName.parse("cpu0")) as slot:
        lab.tool("exit 1")
        lab.run(lab.assigned(QUANTIZE, slot="cpu0"), slot)

        for probes in (2, 3, 4):
            with looked_for_at_once(lab):
                eventually(lambda count=probes: slot_row(lab).lacks[DISK]["probes"] == count)
