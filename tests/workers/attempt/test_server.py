"""Servers from claim to report: real processes that listen, a real database, real ports."""

import json
import socket
import sys
import urllib.request
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from datetime import timedelta

import pytest
from builders.databases import both_databases
from eventually import eventually
from sqlalchemy import select

from orchestrator.jobs import lifecycle
from orchestrator.model.slots import SlotName
from orchestrator.model.states import AttemptState, JobState
from orchestrator.storage.tables import Artifact, Endpoint, Event, Release
from workers.attempt.kinds.server import first_model
from workers.host import ports
from workers.processes.process import StopReason, StopSignal
from workers.slot import owned

SERVE = {
    "kind": "serve", "model": "tiny-model", "kcore": {"job": 1, "artifact": "kcore"}, "groups": 1, "cards": None,
    "idle_seconds": None,
}  # fmt: skip

SERVER = """
import http.server, json, sys
model, port = sys.argv[1:3]

class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        content = json.dumps({"object": "list", "data": [{"id": model}]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

print("serving", flush=True)
http.server.ThreadingHTTPServer(("127.0.0.1", int(port)), Handler).serve_forever()
"""


@pytest.fixture
def serving(lab) -> Callable[..., int]:
    """Assign a server whose tool is `script`, or one that answers as it should: the id of its attempt."""
    (lab.folder / "server.py").write_text(SERVER)
    kcore = lab.stored_tree("kcore", {"kcore.bin": "kcore"})

    def assigned(script: str = f'exec {sys.executable} {lab.folder}/server.py "$@"', **facts) -> int:
        lab.tool(script)
        job = {name: facts.pop(name) for name in ("others", "silence_seconds") if name in facts}
        return lab.assigned({**SERVE, **facts}, {"kcore": kcore}, **job)

    return assigned


def endpoint_of(lab, attempt_id: int) -> Endpoint | None:
    with lab.database.read() as session:
        return session.get(Endpoint, attempt_id)


def events_of(lab, attempt_id: int) -> list[str]:
    with lab.database.read() as session:
        told = session.scalars(select(Event).where(Event.attempt_id == attempt_id).order_by(Event.id))
        return [event.kind for event in told]


def asked(url: str) -> dict:
    with urllib.request.urlopen(f"{url}/v1/models", timeout=5) as answer:
        return json.loads(answer.read())


# ── ready and stopped ────────────────────────────────────────────────────────────────────────────────────────────────


@both_databases
def test_a_server_answers_at_its_endpoint_until_it_is_stopped_and_has_succeeded_then(lab, g0, serving):
    attempt_id = serving()
    running = lab.run_aside(attempt_id, g0)
    eventually(lambda: endpoint_of(lab, attempt_id))

    opened = endpoint_of(lab, attempt_id)
    answer = asked(opened.url)
    lab.stop(attempt_id)
    running.join()

    assert answer["data"][0]["id"] == opened.served_id
    assert (opened.model, opened.groups, opened.closed_at) == ("tiny-model", 1, None)
    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    assert endpoint_of(lab, attempt_id).closed_at is not None


def test_silence_does_not_end_a_server(lab, g0, serving):
    attempt_id = serving(silence_seconds=0)
    running = lab.run_aside(attempt_id, g0)

    eventually(lambda: endpoint_of(lab, attempt_id))

    lab.stop(attempt_id)
    running.join()
    assert lab.job(attempt_id).state is JobState.SUCCEEDED


def test_a_server_that_has_to_be_killed_was_stopped_all_the_same(lab, g0, serving):
    script = f"trap '' TERM; touch TX8_online_1.log; {sys.executable} {lab.folder}/server.py \"$@\"; sleep 60"
    attempt_id = serving(script)
    running = lab.run_aside(attempt_id, g0)
    eventually(lambda: endpoint_of(lab, attempt_id))

    lab.stop(attempt_id)
    running.join()

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    with lab.database.read() as session:
        names = session.scalars(select(Artifact.name).where(Artifact.attempt_id == attempt_id)).all()
    assert sorted(names) == ["log", "vendor_log"]


def test_a_server_that_is_stopped_before_it_is_ready_is_cancelled(lab, g0, serving):
    attempt_id = serving("sleep 60")
    running = lab.run_aside(attempt_id, g0)
    eventually(lambda: lab.attempt(attempt_id).pid)

    lab.stop(attempt_id)
    running.join()

    assert lab.job(attempt_id).state is JobState.CANCELLED
    assert lab.job(attempt_id).failure["reason"] == "cancelled by alice: stopped before it was ready: enough"


def test_a_cancelled_server_is_cancelled(lab, g0, serving):
    attempt_id = serving()
    running = lab.run_aside(attempt_id, g0)
    eventually(lambda: endpoint_of(lab, attempt_id))

    lab.cancel(attempt_id)
    running.join()

    assert lab.job(attempt_id).state is JobState.CANCELLED


def test_a_worker_that_is_stopped_gives_its_server_back(lab, g0, serving):
    attempt_id, stop = serving(), StopSignal()
    running = lab.run_aside(attempt_id, g0, stop)
    eventually(lambda: endpoint_of(lab, attempt_id))

    stop.request(StopReason.SHUTDOWN)
    running.join()

    assert lab.job(attempt_id).state is JobState.QUEUED
    assert endpoint_of(lab, attempt_id).closed_at is not None


@both_databases
def test_a_server_that_is_taken_from_its_worker_is_killed_and_answers_no_more(lab, g0, serving):
    attempt_id = serving()
    running = lab.run_aside(attempt_id, g0)
    eventually(lambda: endpoint_of(lab, attempt_id))

    with lab.database.write() as session:
        lifecycle.lose(session, attempt_id, now=lab.database.now(session), why="gone", max_attempts=3)
    running.join()

    opened = endpoint_of(lab, attempt_id)
    assert opened.closed_at is not None
    with pytest.raises(OSError, match=r"refused"):
        asked(opened.url)


def test_a_server_on_several_groups_gets_their_cards_and_is_as_wide(lab, g0, serving):
    with owned(lab.settings, lab.database, SlotName.parse("g1")):
        attempt_id = serving(groups=2, others=("g1",))
        running = lab.run_aside(attempt_id, g0)
        eventually(lambda: endpoint_of(lab, attempt_id))
        lab.stop(attempt_id)
        running.join()

    assert endpoint_of(lab, attempt_id).groups == 2
    assert lab.attempt(attempt_id).command["argv"][-1] == "0..3,4..7"


# ── not ready ────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_that_is_not_ready_in_time_fails_with_what_it_said_last(lab, g0, serving):
    attempt_id = serving('echo "loading layer 3 of 28"; sleep 60', ready_seconds=1)

    lab.run(attempt_id, g0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "tool"
    assert failure["reason"] == "it was not ready in time; its last line: loading layer 3 of 28"


def test_a_fault_of_the_card_while_it_starts_is_a_fault(lab, g0, serving):
    attempt_id = serving('echo "HPGR: device error 7"; sleep 60', ready_seconds=1)

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.QUEUED
    assert lab.attempt(attempt_id).failure["signature"] == "hpgr_device_error"


@pytest.mark.parametrize("code", [0, 3])
def test_a_server_that_ends_by_itself_has_failed_whatever_it_says(lab, g0, serving, code: int):
    attempt_id = serving(f"echo goodbye; exit {code}")

    lab.run(attempt_id, g0)

    failure = lab.job(attempt_id).failure
    assert failure["kind"] == "tool"
    assert failure["reason"] == f"the server ended by itself: goodbye (exit code {code})"


def test_a_server_that_ends_by_itself_after_it_was_ready_has_failed(lab, g0, serving):
    (lab.folder / "brief.py").write_text(SERVER.replace("Threading", "").replace("serve_forever()", "handle_request()"))
    attempt_id = serving(f'{sys.executable} {lab.folder}/brief.py "$@"; echo out of memory; exit 1')

    lab.run(attempt_id, g0)

    assert "attempt.ready" in events_of(lab, attempt_id)
    assert lab.job(attempt_id).failure["reason"] == "the server ended by itself: out of memory (exit code 1)"


def test_who_answers_with_another_model_is_not_taken_for_the_server(lab, g0, serving):
    (lab.folder / "other.py").write_text(SERVER.replace('"id": model', '"id": "/models/another"'))
    attempt_id = serving(f'exec {sys.executable} {lab.folder}/other.py "$@"', ready_seconds=2)

    lab.run(attempt_id, g0)

    assert endpoint_of(lab, attempt_id) is None
    assert "not ready in time" in lab.job(attempt_id).failure["reason"]


def test_a_server_that_has_to_say_it_is_ready_is_not_ready_before(lab, g0, serving):
    with lab.database.write() as session:
        release = session.get_one(Release, "tiny")
        profile = json.loads(json.dumps(release.profile))
        profile["kinds"]["serve"]["serve"]["ready_line"] = "model (is )?warm"
        release.profile = profile
    (lab.folder / "warm").mkdir()
    attempt_id = serving(
        f'{sys.executable} {lab.folder}/server.py "$@" & '
        f"while ! [ -e {lab.folder}/warm/now ]; do sleep 0.1; done; echo model is warm; wait"
    )
    running = lab.run_aside(attempt_id, g0)
    port = int(eventually(lambda: lab.attempt(attempt_id).command)["argv"][3])
    eventually(lambda: first_model("127.0.0.1", port, "/v1/models"))

    before = endpoint_of(lab, attempt_id)
    (lab.folder / "warm/now").touch()
    eventually(lambda: endpoint_of(lab, attempt_id))
    lab.stop(attempt_id)
    running.join()

    assert before is None
    assert lab.job(attempt_id).state is JobState.SUCCEEDED


# ── ports ────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_whose_port_was_taken_is_started_on_another(lab, g0, serving):
    attempt_id = serving(
        f"if [ ! -e once ]; then echo $2 > once; echo 'port 1: Address already in use'; exit 1; fi; "
        f'exec {sys.executable} {lab.folder}/server.py "$@"'
    )
    running = lab.run_aside(attempt_id, g0)

    eventually(lambda: endpoint_of(lab, attempt_id))
    lab.stop(attempt_id)
    running.join()

    assert lab.job(attempt_id).state is JobState.SUCCEEDED
    assert lab.attempt(attempt_id).command["argv"][3] in endpoint_of(lab, attempt_id).url


def test_a_server_that_never_gets_a_port_fails_in_the_end(lab, g0, serving):
    attempt_id = serving("echo start >> starts; echo 'Address already in use'; cat starts; exit 1")

    lab.run(attempt_id, g0)

    assert lab.job(attempt_id).state is JobState.FAILED
    assert lab.attempt(attempt_id).state is AttemptState.FAILED
    assert lab.attempt(attempt_id).log_bytes == len("Address already in use\n") * 3 + len("start\n") * (1 + 2 + 3)


def test_a_port_that_is_listened_on_or_locked_is_not_given_away(lab):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        only = lab.settings.model_copy(update={"serve_ports": (port, port)})
        with pytest.raises(ports.NoFreePort, match=f"no port from {port} to {port} is free"):
            ports.reserved(only, owner="me").__enter__()

    with ports.reserved(only, owner="me") as mine, pytest.raises(ports.NoFreePort):
        ports.reserved(only, owner="another").__enter__()
    with ports.reserved(only, owner="another") as again:
        assert (mine, again) == (port, port)


def test_a_server_listens_on_the_port_that_its_spec_names(lab, g0, serving):
    with ports.reserved(lab.settings, owner="me") as port:
        pass
    attempt_id = serving(port=port)
    running = lab.run_aside(attempt_id, g0)

    eventually(lambda: endpoint_of(lab, attempt_id))
    lab.stop(attempt_id)
    running.join()

    assert endpoint_of(lab, attempt_id).url.endswith(f":{port}")


def test_a_named_port_that_is_in_use_is_refused(lab, g0, serving):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        attempt_id = serving(port=port)

        lab.run(attempt_id, g0)

    assert lab.job(attempt_id).failure["kind"] == "bad_spec"
    assert f"port {port} is in use on lab" in lab.job(attempt_id).failure["reason"]


def test_a_host_without_a_free_port_costs_no_attempt(lab, g0, serving):
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        crowded = replace(g0, settings=lab.settings.model_copy(update={"serve_ports": (port, port)}))
        attempt_id = serving()

        lab.run(attempt_id, crowded)

    assert lab.attempt(attempt_id).failure["kind"] == "stopped"
    assert lab.job(attempt_id).state is JobState.QUEUED
    assert "TX81_SERVE_PORTS" in lab.attempt(attempt_id).failure["reason"]


# ── use ──────────────────────────────────────────────────────────────────────────────────────────────────────────────


def test_an_open_connection_to_a_server_is_a_use_of_it(lab, g0, serving):
    attempt_id = serving(idle_seconds=1)
    running = lab.run_aside(attempt_id, g0)
    eventually(lambda: endpoint_of(lab, attempt_id))
    port = int(endpoint_of(lab, attempt_id).url.rpartition(":")[2])

    with closing(socket.create_connection(("127.0.0.1", port))):
        eventually(lambda: endpoint_of(lab, attempt_id).last_used_at)
    lab.stop(attempt_id)
    running.join()

    opened = endpoint_of(lab, attempt_id)
    assert opened.ready_at < opened.last_used_at < opened.closed_at + timedelta(seconds=1)


def test_only_connections_to_the_port_itself_are_counted():
    with closing(socket.create_server(("127.0.0.1", 0))) as listening:
        port = listening.getsockname()[1]
        before = ports.established(port)
        with closing(socket.create_connection(("127.0.0.1", port))) as client, closing(listening.accept()[0]):
            during = ports.established(port), ports.established(client.getsockname()[1])

    assert before == 0
    assert during == (1, 1)


@pytest.mark.parametrize(
    ("first", "kind"), [("true", "wrong_cards"), ("exec 3<{devices}/dev-0", None), ("echo using cards 0..3", None)]
)
def test_a_server_is_announced_only_when_its_own_cards_are_confirmed(lab, serving, g0, first, kind):
    said = [r"(?m)^using cards (?P<cards>[\d.,]{1,32})$"]
    lab.says("serve", own_cards={"required": True, "said": said})
    starts = f'{first.format(devices=lab.settings.devices_dir)}; exec {sys.executable} {lab.folder}/server.py "$@"'
    attempt_id, stop = serving(starts, ready_seconds=60 if kind is None else 1), StopSignal()
    running = lab.run_aside(attempt_id, g0, stop)
    if kind is None:
        eventually(lambda: endpoint_of(lab, attempt_id))
        lab.stop(attempt_id)
        stop.request(StopReason.STOPPED)
    running.join(60)

    failure = lab.job(attempt_id).failure
    assert (None if failure is None else failure["kind"]) == kind
    assert ("attempt.ready" in events_of(lab, attempt_id)) == (kind is None)


@pytest.mark.parametrize(("address", "openly"), [("0.0.0.0", True), ("127.0.0.1", False)])
def test_an_endpoint_says_whether_its_server_listens_openly(lab, serving, g0, address, openly):
    script = f'exec {sys.executable} {lab.folder}/server.py "$@"'
    attempt_id, stop = serving(script), StopSignal()
    (lab.folder / "server.py").write_text(SERVER.replace("127.0.0.1", address))
    running = lab.run_aside(attempt_id, g0, stop)
    opened = eventually(lambda: endpoint_of(lab, attempt_id))
    lab.stop(attempt_id)
    stop.request(StopReason.STOPPED)
    running.join(60)

    assert opened.openly is openly
