"""The real Flower behind the gate, on a real broker, as `tx81 up` starts it."""

import http.client
import re
import shutil
import socket
import stat
import sys
from base64 import b64encode
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import pytest
from eventually import eventually

from cli.stack.stack import embedded
from cli.stack.supervisor import Service, Supervisor
from orchestrator import sign_ins, tokens
from orchestrator.broker import create_app
from orchestrator.settings import url_of_sqlite
from orchestrator.storage.database import Database

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("flower")]


@dataclass(frozen=True)
class Flower:
    port: int
    password: str
    broker: str

    def ask(self, method: str, path: str, body: str | None = None, **headers: str) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        connection.request(method, path, body, {name.replace("_", "-"): value for name, value in headers.items()})
        answer = connection.getresponse()
        answer.page = answer.read().decode()
        connection.close()
        return answer

    @property
    def known(self) -> dict[str, str]:
        return {"Authorization": f"Basic {b64encode(f'tx81:{self.password}'.encode()).decode()}"}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module", params=[False, True], ids=["look", "control"])
def control(request) -> bool:
    return request.param


@pytest.fixture(scope="module")
def state(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("flower") / "state"


@pytest.fixture(scope="module")
def flower(state: Path, control: bool) -> Iterator[Flower]:
    env = {"TX81_FLOWER_CONTROL": str(control)}
    stack = embedded(env, state, sys.executable, groups=0, cpu_seats=1, flower_port=(port := free_port()), api_port=0)
    services = {service.name: service for service in stack}
    worker = ("-m", "celery", "-A", "orchestrator.broker:app", "worker", "-P", "solo", "-n", "cpu0@lab")
    idle = Service(
        name="idle",
        argv=(sys.executable, *worker),
        env=services["flower"].env,
        needs=("broker",),
    )
    with Supervisor([services["broker"], services["flower"], idle], state / "logs", lambda event: None):
        broker = services["flower"].env["TX81_BROKER_URL"]
        yield Flower(port, (state / "flower/password").read_text().strip(), broker)


def test_nobody_comes_in_without_the_password(flower):
    asked = [("GET", "/"), ("GET", "/api/workers"), ("GET", "/metrics"), ("POST", "/api/worker/shutdown/cpu0@h")]
    answers = [flower.ask(method, path) for method, path in asked]

    assert [answer.status for answer in answers] == [401] * 4
    assert answers[0].headers["WWW-Authenticate"].startswith("Basic ")


def test_with_the_password_pages_and_api_are_there(flower):
    paths = ("/", "/tasks", "/broker", "/api/workers", "/api/tasks", "/metrics", "/static/js/flower.js")

    assert [flower.ask("GET", path, **flower.known).status for path in paths] == [200] * 7
    assert flower.ask("POST", "/tasks/datatable", "draw=1&start=0&length=10&order[0][column]=0&order[0][dir]=asc"
                      "&columns[0][data]=uuid&search[value]=", Content_Type="application/x-www-form-urlencoded",
                      **flower.known).status == 200  # fmt: skip


def test_a_browser_that_is_signed_in_sees_it_without_a_password(flower, sqlite_template, state):
    shutil.copy(sqlite_template, state / "tx81.db")
    database = Database(url_of_sqlite(state / "tx81.db"))
    secret = sign_ins.sign_in(database, tokens.make(database, f"eva-{flower.port}", ("viewer",)))

    signed_in = {"Cookie": f"tx81-session-8081={secret}"}
    paths = ("/", "/tasks", "/api/workers", "/static/js/flower.js")
    assert [flower.ask("GET", path, **signed_in).status for path in paths] == [200] * 4
    assert flower.ask("POST", "/api/worker/shutdown/nobody@h", "{}", **signed_in).status == 403
    sign_ins.sign_out(database, secret)
    assert flower.ask("GET", "/tasks", **signed_in).status == 401
    database.close()


def test_a_page_of_another_origin_gets_nothing_and_can_do_nothing(flower):
    evil = {"Origin": "http://evil.example", **flower.known}
    answers = [
        flower.ask("GET", "/api/tasks", **evil),
        flower.ask("POST", "/api/task/send-task/tx81.run_attempt", '{"args": [1]}', **evil),
        flower.ask("OPTIONS", "/api/tasks", **evil, Access_Control_Request_Method="POST"),
        flower.ask("GET", "/api/tasks", **evil, Upgrade="websocket", Connection="Upgrade"),
        flower.ask("GET", "/api/tasks", **flower.known),
        flower.ask("GET", "/healthcheck"),
    ]

    assert [answer.status for answer in answers] == [403, 403, 403, 403, 200, 200]
    assert not [name for answer in answers for name in answer.headers if name.lower().startswith("access-control")]
    assert {answer.headers["X-Frame-Options"] for answer in answers} == {"DENY"}


def test_a_name_that_is_pointed_here_by_somebody_else_is_refused(flower):
    assert flower.ask("GET", "/", **flower.known, Host="evil.example").status == 421
    assert flower.ask("GET", "/healthcheck", Host=f"evil.example:{flower.port}").status == 421


def test_workers_are_controlled_only_where_that_was_asked_for(flower, control):
    refused = {
        path: flower.ask("POST", path, "{}", **flower.known)
        for path in ("/api/worker/shutdown/nobody@h", "/api/task/send-task/tx81.run_attempt", "/api/task/revoke/1.1")
    }

    assert {answer.status == 403 for answer in refused.values()} == {not control}
    assert flower.ask("PUT", "/api/workers", **flower.known).status == 405
    assert flower.ask("DELETE", "/api/workers", **flower.known).status == 405


def _drained(connection) -> None:
    with suppress(TimeoutError):
        connection.drain_events(timeout=0.1)


@pytest.mark.parametrize("control", [True], indirect=True)
def test_a_revoke_says_whose_it_is(flower, control):
    app, heard = create_app(flower.broker), []
    handlers = {"revoke": lambda state, **arguments: heard.append(arguments)}
    with app.connection_for_read() as connection:
        node = app.control.mailbox(connection).Node("test@lab", channel=connection.channel(), handlers=handlers)
        node.listen(callback=node.dispatch_from_message)
        _drained(connection)  # it listens from here on

        answer = flower.ask("POST", "/api/task/revoke/7.1?terminate=true", **flower.known)
        eventually(lambda: _drained(connection) or heard)

    assert answer.status == 200
    assert [(each["task_id"], each["by"]) for each in heard] == [("7.1", "flower tx81")]


def test_what_may_not_be_done_has_no_button(flower, control):
    eventually(lambda: "cpu0@lab" in flower.ask("GET", "/api/workers?refresh=true", **flower.known).page)

    page = flower.ask("GET", "/worker/cpu0@lab", **flower.known)

    assert page.status == 200
    assert ("Shut Down" in page.page) is control


def test_a_large_body_of_a_stranger_is_not_read(flower):
    with socket.create_connection(("127.0.0.1", flower.port), timeout=20) as client:
        client.sendall(b"POST /api/workers HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 90000000\r\n\r\n")

        assert client.recv(64).startswith(b"HTTP/1.1 401")


def test_the_password_stays_and_only_its_user_can_read_it(flower, state):
    assert re.fullmatch(r"[\w-]{32}", flower.password)
    assert stat.S_IMODE((state / "flower/password").stat().st_mode) == 0o600
    assert stat.S_IMODE((state / "flower").stat().st_mode) == 0o700
