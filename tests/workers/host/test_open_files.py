"""Workers of one host share their looks at open files, and believe no older, other or forged one."""

import fcntl
import os
import subprocess
import time
from contextlib import contextmanager

import pytest

from orchestrator.model.profile import ProbeRule
from orchestrator.model.slots import CARDS_PER_HOST
from workers.host.open_files import Look, SharedLooks, identity, look
from workers.host.probe import Probe


@pytest.fixture
def devices(tmp_path):
    folder = tmp_path / "devices"
    folder.mkdir()
    for card in range(CARDS_PER_HOST):
        (folder / f"dev-{card}").touch()
    return folder


@pytest.fixture
def shared(tmp_path):
    return SharedLooks(tmp_path)


@pytest.fixture
def probe(devices, shared):
    return Probe(ProbeRule(), devices=devices, root="", shared=shared)


@contextmanager
def somebody_on(node):
    with node.open() as opened:
        process = subprocess.Popen(["sleep", "60"], stdin=opened)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def seen_free(devices, *cards, at):
    """What a worker saw when nobody had these open."""
    files = {devices / f"dev-{card}" for card in cards}
    return Look(at, frozenset(file.name for file in files), frozenset(map(identity, files)), {}, 0)


def shared_file(tmp_path):
    return next(tmp_path.glob("look-*"))


def test_what_another_worker_has_seen_since_is_not_looked_for_again(probe, shared, devices):
    moment = time.monotonic()
    shared.tell(seen_free(devices, 0, 1, at=moment))

    with somebody_on(devices / "dev-0"):
        enough = probe.look([0, 1], since=moment)
        too_old = probe.look([0, 1], since=time.monotonic())

    assert enough.free
    assert enough.began == moment
    assert [holder.card for holder in too_old.holders] == [0]


def test_a_worker_that_stands_still_in_its_look_holds_nobody_up(tmp_path, probe, shared, devices):
    shared.tell(seen_free(devices, 0, at=time.monotonic()))
    with shared_file(tmp_path).open() as stopped, somebody_on(devices / "dev-0"):
        fcntl.flock(stopped, fcntl.LOCK_EX)
        finding = probe.look([0], since=time.monotonic())

    assert not finding.free


def test_a_look_at_other_cards_says_nothing_of_ours(probe, shared, devices):
    moment = time.monotonic()
    shared.tell(seen_free(devices, 4, 5, at=moment))

    with somebody_on(devices / "dev-0"):
        finding = probe.look([0], since=moment)

    assert not finding.free


def test_a_look_for_a_card_by_another_name_says_nothing_of_it_by_ours(probe, shared, devices):
    moment = time.monotonic()
    shared.tell(Look(moment, frozenset(["card0"]), frozenset([identity(devices / "dev-0")]), {}, 0))

    with somebody_on(devices / "dev-0"):
        finding = probe.look([0], since=moment)

    assert not finding.free


def test_a_holder_that_another_worker_saw_is_not_accused_once_it_is_gone(probe, shared, devices):
    moment = time.monotonic()
    node = identity(devices / "dev-0")
    shared.tell(Look(moment, frozenset(["dev-0"]), frozenset([node]), {os.getppid(): frozenset([node])}, 0))

    assert probe.look([0], since=moment).free


def test_one_look_tells_all_workers_of_the_host_of_their_cards(probe, shared, devices):
    moment = time.monotonic()

    with somebody_on(devices / "dev-9") as process:
        probe.look([0], since=moment)

    told = shared.newest(since=moment)
    assert told.opened[process.pid] == {identity(devices / "dev-9")}
    assert len(told.wanted) == CARDS_PER_HOST


@pytest.mark.parametrize("spoilt", [b"", b"x", b"0123456789abcdef {}\n", b"\xff\xfe\n"])
def test_a_look_that_was_not_written_whole_is_none(tmp_path, shared, devices, spoilt):
    shared.tell(seen_free(devices, 0, at=time.monotonic()))
    shared_file(tmp_path).write_bytes(spoilt)

    assert shared.newest(since=0.0) is None


def test_a_look_that_others_could_have_written_is_none(tmp_path, shared, devices):
    shared.tell(seen_free(devices, 0, at=time.monotonic()))
    shared_file(tmp_path).chmod(0o666)

    assert shared.newest(since=0.0) is None


def test_a_look_from_the_future_is_none(shared, devices):
    shared.tell(seen_free(devices, 0, at=time.monotonic() + 3600))

    assert shared.newest(since=0.0) is None


def test_a_link_in_the_place_of_the_looks_is_not_followed(tmp_path, shared, devices):
    shared.tell(seen_free(devices, 0, at=time.monotonic()))
    elsewhere = tmp_path / "precious"
    elsewhere.write_text("kept")
    place = shared_file(tmp_path)
    place.unlink()
    os.symlink(elsewhere, place)

    shared.tell(seen_free(devices, 0, at=time.monotonic()))

    assert elsewhere.read_text() == "kept"


def test_who_has_nothing_open_is_looked_at_too(devices):
    process = subprocess.Popen(["sh", "-c", "exec sleep 60 <&- >&- 2>&-"])
    try:
        found = look({devices / "dev-0": identity(devices / "dev-0")}, [process.pid])
    finally:
        process.kill()
        process.wait()

    assert (found.opened, found.unseen) == ({}, 0)
