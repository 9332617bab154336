import os
import signal
import socket
import stat
import sys
from pathlib import Path

import pytest
import redis
from eventually import eventually
from kombu import Connection

from cli.stack.stack import PortTaken, UnsafeFolder, broker_answers, broker_socket, broker_url, embedded
from cli.stack.supervisor import Service, ServiceEvent, Supervisor, What, in_order

pytestmark = pytest.mark.slow


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def the_stack(state: Path, **facts) -> dict[str, Service]:
    facts = {"flower_port": None, "api_port": free_port(), **facts}
    return {service.name: service for service in embedded({}, state, sys.executable, **facts)}


@pytest.fixture(
    params=["plain", 'a "quoted" \\ 状态\n port 7777', "lab?1 %20 50% #2 a&b+c", "long" * 40],
    ids=["plain", "hostile", "of a URL", "long"],
)
def state(request, tmp_path, monkeypatch):
    """A state folder, also with a name that a configuration file or a socket cannot take as it is."""
    monkeypatch.setattr("tempfile.tempdir", None)
    monkeypatch.setenv("TMPDIR", "/tmp")
    state = tmp_path / request.param
    yield state
    if not (folder := broker_socket(state).parent).is_relative_to(state):
        folder.rmdir()


def test_the_packaged_broker_serves_on_a_private_socket_and_nowhere_else(state, tmp_path):
    broker = the_stack(state)["broker"]

    with Supervisor([broker], tmp_path / "logs", lambda event: None):
        with redis.Redis(unix_socket_path=str(broker_socket(state))) as client:
            assert client.ping()
            settings = {
                name: client.config_get(name)[name] for name in ("port", "appendonly", "maxmemory-policy", "dir")
            }
        assert settings == {
            "port": "0",
            "appendonly": "yes",
            "maxmemory-policy": "noeviction",
            "dir": str(state / "broker"),
        }
        assert stat.S_IMODE(broker_socket(state).stat().st_mode) == 0o700
        assert stat.S_IMODE(broker_socket(state).parent.stat().st_mode) == 0o700

    assert not broker_answers(broker_socket(state))


def test_celerys_transport_finds_the_broker_by_its_url(state, tmp_path):
    broker = the_stack(state)["broker"]

    with (
        Supervisor([broker], tmp_path / "logs", lambda event: None),
        Connection(broker_url(broker_socket(state))) as connection,
        connection.SimpleQueue("h1.g3") as queue,
    ):
        queue.put({"attempt": 7})

        assert queue.get(timeout=5).payload == {"attempt": 7}


def test_what_the_broker_held_survives_its_death(tmp_path):
    happened: list[ServiceEvent] = []
    broker = the_stack(tmp_path / "state")["broker"]
    listener = broker_socket(tmp_path / "state")

    with Supervisor([broker], tmp_path / "logs", happened.append):
        with redis.Redis(unix_socket_path=str(listener)) as client:
            client.set("bell", "rung")
            assert client.waitaof(num_local=1, num_replicas=0, timeout=5000)[0] == 1
        os.kill(happened[0].pid, signal.SIGKILL)
        eventually(lambda: [event.what for event in happened].count(What.READY) == 2)

        with redis.Redis(unix_socket_path=str(listener)) as client:
            assert client.get("bell") == b"rung"


def test_there_is_one_worker_a_slot_and_each_is_told_where_things_are(tmp_path):
    stack = the_stack(tmp_path, groups=8, cpu_seats=2, flower_port=free_port(), api_port=(port := free_port()))

    workers = [service for service in stack.values() if "workers" in service.argv]

    assert [worker.argv[-1] for worker in workers] == [*(f"g{number}" for number in range(8)), "cpu0", "cpu1"]
    assert set(stack) - {worker.name for worker in workers} == {"broker", "api", "dispatcher", "flower"}
    for service in workers:
        assert service.env["TX81_BROKER_URL"] == broker_url(broker_socket(tmp_path))
        assert (service.env["TX81_STATE_DIR"], service.env["TX81_API_PORT"]) == (str(tmp_path), str(port))


def test_a_port_in_use_is_named_before_anything_starts(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(PortTaken, match=f"the API cannot use port {port}"):
            the_stack(tmp_path, api_port=port)


def test_a_socket_folder_planted_by_somebody_else_is_refused(tmp_path, monkeypatch):
    short = tmp_path / "t"
    short.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(short))
    state = tmp_path / ("long" * 40)
    broker_socket(state).parent.symlink_to(tmp_path)

    with pytest.raises(UnsafeFolder, match="belongs to another user"):
        the_stack(state)


def test_another_host_has_workers_of_its_own_that_a_supervisor_takes(tmp_path):
    services = the_stack(tmp_path / "state", groups=2, more_hosts={"Lab-2": {"TX81_LOCK_DIR": "/locks of lab2"}})

    ours, theirs = services["g1"], services["Lab-2.g1"]

    assert theirs.argv == ours.argv
    assert theirs.env == {**ours.env, "TX81_HOST": "Lab-2", "TX81_LOCK_DIR": "/locks of lab2"}
    assert len(in_order(list(services.values()))) == len(services)
