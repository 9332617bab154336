"""Servers that fail, lie and fall silent, and what of it reaches a client."""

import json
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta

import httpx2
import pytest
from eventually import eventually

from orchestrator.settings import Settings
from tests.api.proxy.servers import announce, strange

CHAT = "/chat/completions"
BODY = {"model": "tiny", "messages": [{"role": "user", "content": "Who are you?"}]}
IMPATIENT = pytest.mark.parametrize("silence", [timedelta(seconds=1)])
WHOLE = b'{"model": "/srv/tiny", "choices": []}'


@pytest.fixture
def silence() -> timedelta:
    """How long a server may say nothing; longer than any test takes, but for those about it."""
    return timedelta(minutes=3)


@pytest.fixture
def settings(settings, silence) -> Settings:
    return settings.model_copy(update={"server_silence": silence})


@pytest.fixture
def openai(served, settings, token):
    base = f"http://127.0.0.1:{settings.api_port}/v1"
    with httpx2.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
        yield client


@contextmanager
def asking(settings, token) -> Iterator[socket.socket]:
    """A connection on which a request was sent and nothing was read; closed with the block."""
    head = f"POST /v1{CHAT} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\nContent-Type: application/json\r\n"
    body = json.dumps(BODY).encode()
    with socket.create_connection(("127.0.0.1", settings.api_port)) as client:
        client.sendall(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
        yield client


@pytest.fixture
def behind(database):
    """Puts a strange server behind the address."""
    with ExitStack() as running:

        def start(said, **facts):
            server = running.enter_context(strange(said))
            announce(database, server.url, **facts)
            return server

        yield start


def closed_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def last_of(answer: httpx2.Response) -> dict:
    return json.loads(answer.text.split("data: ")[-1])


def streaming(*pieces: bytes, ends: bool = True):
    def said(ask):
        ask.begin("text/event-stream", Transfer_Encoding="chunked")
        for piece in pieces:
            ask.chunk(piece)
        if ends:
            ask.chunk(b"")
        ask.close_connection = True

    return said


# ── what is sent on ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_server_is_sent_the_body_under_its_own_name_and_nothing_of_the_client(openai, behind, token):
    server = behind(lambda ask: ask.whole(WHOLE))
    body = BODY | {"temperature": 0.1, "seed": 2**40, "extra": {"中文": [None, True]}, "model_extra": 1}

    openai.post(CHAT, json=body, headers={"Cookie": "a=b", "X-Secret": "s", "Idempotency-Key": "k"})

    headers, heard = server.heard[0]
    assert json.loads(heard) == body | {"model": "/srv/tiny"}
    assert token not in str(headers)
    assert {name.lower() for name in headers} <= {
        "host", "accept", "accept-encoding", "connection", "user-agent", "content-type", "content-length",
    }  # fmt: skip


def test_parameters_that_clients_of_openai_add_to_the_address_change_nothing(openai, behind):
    behind(lambda handler: handler.whole(WHOLE))

    answer = openai.post(CHAT, params={"api-version": "2024-02-01"}, json=BODY)

    assert answer.status_code == 200


def test_a_server_may_be_asked_by_the_name_that_it_has_itself(openai, behind):
    behind(lambda ask: ask.whole(WHOLE), served_id="/srv/other")
    behind(lambda ask: ask.whole(WHOLE), served_id="/srv/tiny")

    answers = [openai.post(CHAT, json=BODY | {"model": "/srv/tiny"}) for _ in range(2)]

    assert [answer.json()["model"] for answer in answers] == ["/srv/tiny", "/srv/tiny"]
    assert len({answer.headers["X-TX81-Job"] for answer in answers}) == 1


def test_a_row_that_names_no_plain_address_is_never_called(openai, behind, database):
    server = behind(lambda ask: ask.whole(WHOLE), model="other")
    announce(database, f"http://user@127.0.0.1:{server.server_port}")
    announce(database, f"http://127.0.0.1:{server.server_port}/admin?x=")
    announce(database, f"https://127.0.0.1:{server.server_port}")
    announce(database, "file:///etc/passwd")

    answer = openai.post(CHAT, json=BODY)

    assert answer.status_code == 503
    assert server.heard == []


def test_a_redirect_is_not_followed(openai, behind):
    target = behind(lambda ask: ask.whole(WHOLE), model="other")
    behind(lambda ask: ask.whole(b"", status=307, Location=f"{target.url}/v1/chat/completions"))

    answer = openai.post(CHAT, json=BODY)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "server_failed")
    assert "Location" not in answer.headers
    assert target.heard == []


# ── what comes back ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_is_passed_on_to_the_byte_but_for_the_models_name(openai, behind):
    said = '"model": "/srv/tiny" 你好'
    event = {"model": "/srv/tiny", "choices": [{"delta": {"content": said}}]}
    raw = f": hello\n\ndata: {json.dumps(event, ensure_ascii=False)}\r\n\r\ndata: [DONE]\n\n".encode()
    behind(streaming(*(raw[at : at + 7] for at in range(0, len(raw), 7))))

    answer = openai.post(CHAT, json=BODY | {"stream": True})

    assert answer.content == raw.replace(b'{"model": "/srv/tiny"', b'{"model": "tiny"')
    assert said in json.loads(answer.text.split("data: ")[1])["choices"][0]["delta"]["content"]


def test_no_proxy_between_holds_a_stream_back_or_takes_a_pause_for_its_end(openai, behind, monkeypatch):
    monkeypatch.setattr("api.proxy.relay.KEEP_ALIVE_SECONDS", 0.05)
    seen = threading.Event()

    def pause(handler):
        handler.begin("text/event-stream", Connection="close")
        handler.wfile.write(b'data: {"n": 1}\n\nda')
        handler.wfile.flush()
        assert seen.wait(30)
        handler.wfile.write(b'ta: {"n": 2}\n\n')

    behind(pause)

    told = b""
    with openai.stream("POST", CHAT, json=BODY) as answer:
        for piece in answer.iter_raw():
            told += piece
            if b": keep-alive" in told:
                seen.set()

    assert answer.headers["x-accel-buffering"] == "no"
    assert told.replace(b": keep-alive\n\n", b"") == b'data: {"n": 1}\n\ndata: {"n": 2}\n\n'


def test_an_error_of_the_server_is_passed_on_without_its_own_headers(openai, behind):
    behind(lambda ask: ask.whole(b'{"error": {"message": "no"}}', status=400, Set_Cookie="a=b", X_Path="/srv"))

    answer = openai.post(CHAT, json=BODY)

    assert (answer.status_code, answer.json()) == (400, {"error": {"message": "no"}})
    assert not {"set-cookie", "x-path"} & set(answer.headers)


# ── the next server ──────────────────────────────────────────────────────────────────────────────────────────────────


def test_a_full_server_is_passed_over(openai, behind):
    full = behind(lambda ask: ask.whole(b"{}", status=503))
    behind(lambda ask: ask.whole(WHOLE))

    answers = [openai.post(CHAT, json=BODY) for _ in range(4)]

    assert [answer.status_code for answer in answers] == [200] * 4
    assert len(full.heard) == 1


def test_when_all_servers_are_full_the_client_is_told_when_to_come_again(openai, behind):
    servers = [behind(lambda ask: ask.whole(b"{}", status=503)) for _ in range(3)]

    answer = openai.post(CHAT, json=BODY)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "servers_full")
    assert answer.headers["Retry-After"] == "1"
    assert [len(server.heard) for server in servers] == [1, 1, 1]


def test_servers_that_cannot_be_reached_are_as_good_as_none(openai, database):
    for _ in range(2):
        announce(database, f"http://127.0.0.1:{closed_port()}")

    answer = openai.post(CHAT, json=BODY)

    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "no_server_ready")
    assert "Retry-After" in answer.headers


@pytest.mark.parametrize("stream", [False, True])
def test_a_server_that_breaks_off_before_its_first_word_is_replaced(openai, behind, stream):
    def breaks(ask):
        if stream:
            ask.begin("text/event-stream", Transfer_Encoding="chunked")
        else:
            ask.begin("application/json", Content_Length="100")
            ask.wfile.write(b'{"model":')
        ask.close_connection = True

    broken = behind(breaks)
    behind(streaming(b"data: [DONE]\n\n") if stream else lambda ask: ask.whole(WHOLE))

    answer = openai.post(CHAT, json=BODY | {"stream": stream})

    assert answer.status_code == 200
    assert answer.text == "data: [DONE]\n\n" if stream else answer.json()["model"] == "tiny"
    assert len(broken.heard) == 1


def test_a_request_that_ends_two_servers_is_not_given_to_a_third(openai, behind):
    def dies(ask):
        ask.close_connection = True

    servers = [behind(dies) for _ in range(3)]

    answer = openai.post(CHAT, json=BODY)

    assert (answer.status_code, answer.json()["error"]["code"]) == (502, "server_failed")
    assert sorted(len(server.heard) for server in servers) == [0, 1, 1]


# ── after the first byte ─────────────────────────────────────────────────────────────────────────────────────────────


def test_a_stream_that_breaks_ends_behind_its_last_whole_event_with_an_error(openai, behind):
    behind(streaming(b'data: {"a": 1}\n\ndata: {"b"', ends=False))

    answer = openai.post(CHAT, json=BODY | {"stream": True})

    first, last, rest = answer.text.split("\n\n")
    assert (answer.status_code, first, rest) == (200, 'data: {"a": 1}', "")
    assert json.loads(last.removeprefix("data: "))["error"] == {
        "message": "the server closed the connection in the middle of its answer",
        "type": "server_error",
        "param": None,
        "code": "server_failed",
    }


@IMPATIENT
def test_a_stream_that_falls_silent_is_given_up(openai, behind):
    over = threading.Event()

    def falls_silent(ask):
        ask.begin("text/event-stream", Transfer_Encoding="chunked")
        ask.chunk(b'data: {"a": 1}\n\n')
        over.wait(30)

    behind(falls_silent)
    answer = openai.post(CHAT, json=BODY | {"stream": True})
    over.set()

    assert last_of(answer)["error"]["code"] == "server_silent"


@IMPATIENT
def test_a_server_that_never_says_a_word_is_given_up(openai, behind):
    over = threading.Event()
    behind(lambda ask: over.wait(30))

    answer = openai.post(CHAT, json=BODY)
    over.set()

    assert (answer.status_code, answer.json()["error"]["code"]) == (504, "server_silent")


def test_an_event_without_end_is_cut_off(openai, behind):
    behind(streaming(b'data: {"a": 1}\n\ndata: ', *[b"x" * (1 << 17)] * 10))

    answer = openai.post(CHAT, json=BODY | {"stream": True})

    assert len(answer.content) < 1000
    assert last_of(answer)["error"]["code"] == "server_failed"


def test_a_client_that_does_not_read_holds_the_server_back_not_our_memory(behind, served, settings, token):
    stalled = threading.Event()

    def talks_on(ask):
        ask.begin("text/event-stream", Transfer_Encoding="chunked")
        ask.connection.settimeout(1)
        try:
            for _ in range(1024):
                ask.chunk(b"data: " + b"x" * 65536 + b"\n\n")
        except TimeoutError:
            stalled.set()
        ask.close_connection = True

    behind(talks_on)
    with asking(settings, token):
        assert stalled.wait(30)


def test_a_client_that_hangs_up_before_the_answer_ends_the_request_at_the_server(behind, served, settings, token):
    ended = threading.Event()

    def waits_for_the_end(ask):
        if ask.connection.recv(1) == b"":
            ended.set()
        ask.close_connection = True

    server = behind(waits_for_the_end)
    with asking(settings, token):
        eventually(lambda: server.heard)

    assert ended.wait(10)
