"""A receiver that is slow, hostile or not there harms nobody."""

import logging
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import pytest
from receiver import receiving

from orchestrator.errors import BadRequest
from orchestrator.model.notifications import TargetKind, webhook_url
from orchestrator.settings import Settings
from orchestrator.suites import channels, webhooks
from orchestrator.suites.channels import Message
from orchestrator.suites.webhooks import AddressRefused, NotSent, post

LOOPBACK = Settings(notify_loopback=True)
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
DOCUMENT = {"type": "notification.test", "timestamp": "2026-03-01T12:00:00+00:00",
            "data": {"subject": "test", "text": "你好"}}  # fmt: skip


def a_message(url: str, kind: TargetKind = TargetKind.WEBHOOK) -> Message:
    return Message(kind, url, SECRET if kind is TargetKind.WEBHOOK else None, "msg_1", DOCUMENT)


@contextmanager
def a_server(answer: Callable[[socket.socket], object]) -> Iterator[str]:
    """A TCP server that answers each connection as it likes, until the block ends."""
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def serve() -> None:
            with suppress(OSError):
                while True:
                    connection, _ = listening.accept()
                    with connection, suppress(OSError):
                        answer(connection)

        thread = threading.Thread(target=serve, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{listening.getsockname()[1]}"
        finally:
            listening.shutdown(socket.SHUT_RDWR)
            thread.join(timeout=5)


def silent(connection: socket.socket) -> None:
    """Reads all that comes until the client hangs up, and says nothing."""
    while connection.recv(1 << 16):
        pass


def dribbling(connection: socket.socket) -> None:
    """Sends one header after the other, each long before a time-out, until the client hangs up."""
    connection.sendall(b"HTTP/1.1 100 Continue\r\n")
    connection.settimeout(0.01)
    while True:
        try:
            if not connection.recv(1 << 16):
                return
        except TimeoutError:
            connection.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")


def test_a_message_is_posted_as_json_with_its_signature_and_nothing_of_the_environment(monkeypatch):
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    with receiving() as receiver:
        sent = channels.send(a_message(f"{receiver.url}/hook?a=b"), LOOPBACK)

    assert (sent.error, sent.status) == (None, 204)
    (request,) = receiver.received
    assert request.path == "/hook?a=b"
    assert request.headers["content-type"] == "application/json"
    assert request.headers["webhook-signature"].startswith("v1,")
    assert "你好" in request.body.decode()


@pytest.mark.parametrize(("status", "final"), [(302, False), (307, False), (500, False), (404, False), (410, True)])
def test_another_status_is_an_error_and_a_redirect_is_not_followed(status, final):
    with receiving() as receiver:
        receiver.statuses = [status]
        sent = channels.send(a_message(receiver.url), LOOPBACK)

    assert (sent.status, sent.final) == (status, final)
    assert sent.error
    assert len(receiver.received) == 1


@pytest.mark.parametrize("answer", [silent, dribbling])
def test_who_never_finishes_an_answer_is_left_alone_after_a_while(monkeypatch, answer):
    monkeypatch.setattr(webhooks, "TOTAL_SECONDS", 0.3)
    with a_server(answer) as url, pytest.raises(NotSent, match=r"did not answer within 0\.3 s"):
        post(webhook_url(url), {}, b"{}", LOOPBACK)


@pytest.mark.parametrize(
    "said", [b"", b"nonsense\r\n\r\n", b"HTTP/1.1 abc\r\n\r\n", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 500]
)
def test_an_answer_that_is_none_is_an_error_and_no_crash(said):
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(said)

    with a_server(answer) as url:
        assert channels.send(a_message(url), LOOPBACK).error


def test_the_body_of_an_answer_is_not_read():
    def answer(connection: socket.socket) -> None:
        connection.recv(1 << 16)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\n" + b"x" * (1 << 16))

    with a_server(answer) as url:
        assert channels.send(a_message(url), LOOPBACK).status == 200


def test_a_closed_port_is_an_error_that_names_only_the_host():
    with receiving() as receiver:
        url = receiver.url

    sent = channels.send(a_message(f"{url}/secret"), LOOPBACK)

    assert "127.0.0.1 cannot be reached" in sent.error
    assert "secret" not in sent.error


def test_the_address_that_was_checked_is_the_one_that_is_called(monkeypatch):
    """A name that resolves to another address a moment later (DNS rebinding) changes nothing."""
    look_up, lookups = socket.getaddrinfo, []

    def resolve(host, port, *args, **kwargs):
        if host != "rebinding.example":
            return look_up(host, port, *args, **kwargs)
        lookups.append(host)
        address = "127.0.0.1" if len(lookups) == 1 else "169.254.169.254"
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    with receiving() as receiver:
        port = receiver.url.rpartition(":")[2]
        monkeypatch.setattr(socket, "getaddrinfo", resolve)
        status = post(webhook_url(f"http://rebinding.example:{port}/"), {}, b"{}", LOOPBACK)

    assert status == 204
    assert receiver.received[0].headers["host"] == f"rebinding.example:{port}"
    assert len(lookups) == 1


def test_a_name_with_one_bad_address_is_not_called_at_all(monkeypatch):
    def resolve(host, port, *args, **kwargs):
        return [
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port)) for address in ("127.0.0.1", "169.254.169.254")
        ]

    monkeypatch.setattr(socket, "getaddrinfo", resolve)

    with pytest.raises(AddressRefused, match="metadata"):
        post(webhook_url("http://two.example/"), {}, b"{}", LOOPBACK)
    assert channels.send(a_message("http://two.example/"), LOOPBACK).final


@pytest.mark.parametrize(
    "url",
    [
        "http://127.0.0.1/", "http://localhost/", "http://127.1/", "http://2130706433/", "http://0x7f.1/",
        "http://169.254.169.254/latest/meta-data", "http://[::ffff:169.254.169.254]/", "http://[::1]/", "http://0/",
    ],
)  # fmt: skip
def test_a_target_that_would_never_be_called_is_refused_at_once(url):
    with pytest.raises(BadRequest) as refused:
        channels.check(TargetKind.WEBHOOK, url, Settings())

    assert refused.value.field == "url"


@pytest.mark.parametrize(
    ("url", "name"),
    [
        ("dingtalk://secret@ABCDEF12345", "DingTalk"),
        ("feishu://abcdefgh12345678", "Feishu"),
        ("lark://abcdef0123456789", "Lark (Feishu)"),
        ("wecombot://123456789a123456789b1234", "WeCom Bot"),
        ("slack://T1JJ3T3L2/A1BRTD4JD/TIiajkdnlazkcOXrIdevi7FQ", "Slack"),
        ("mailto://user:secret@mail.example.com", "E-Mail"),
        ("mailtos://user:secret@mail.example.com", "E-Mail"),
    ],
)
def test_the_services_that_are_promised_are_really_there(url, name):
    assert str(channels._service(url).service_name) == name


@pytest.mark.parametrize(
    "url",
    [
        "json://127.0.0.1/secret",
        "syslog://",
        "file:///etc/passwd",
        "dbus://",
        "discord://a/secret",
        "slack://secret",
        "x",
    ],
)
def test_other_services_and_broken_urls_are_refused_without_being_quoted(url):
    with pytest.raises(BadRequest) as refused:
        channels.check(TargetKind.APPRISE, url, Settings())

    assert "secret" not in refused.value.detail


def test_a_mail_server_that_would_never_be_called_is_refused():
    with pytest.raises(BadRequest, match="loopback"):
        channels.check(TargetKind.APPRISE, "mailto://user:secret@example.com?smtp=127.0.0.1", Settings())


def test_what_a_service_says_of_its_url_is_in_no_log(caplog):
    caplog.set_level(logging.DEBUG)

    sent = channels.send(
        a_message("mailto://user:hush-hush@example.com:1?smtp=127.0.0.1&mode=insecure", TargetKind.APPRISE), LOOPBACK
    )

    assert sent.error
    assert "hush-hush" not in caplog.text + sent.error
