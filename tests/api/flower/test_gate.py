from base64 import b64encode

import pytest

from api.flower.gate import Gate

HOST = {"host": "127.0.0.1:5555"}


def basic(user: str, password: str) -> dict[str, str]:
    return {"authorization": f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}"}


KNOWN = HOST | basic("tx81", "secret")


def status(method: str, path: str, headers: dict[str, str], **facts) -> int:
    refusal = Gate(user="tx81", password="secret", **facts).refusal(method, path, headers)
    return refusal.status if refusal else 200


@pytest.mark.parametrize("host", ["127.0.0.1:5555", "localhost:5555", "LOCALHOST:15555", "[::1]:5555", "localhost"])
def test_a_name_of_this_machine_is_let_in_at_any_port(host):
    assert status("GET", "/", KNOWN | {"host": host}) == 200


@pytest.mark.parametrize(
    "host",
    ["evil.example:5555", "127.0.0.1.evil.example", "localhost.:5555", "", "127.0.0.1:5555,evil.example", "x@localhost",
     "127.0.0.1:5555:80", "[::1", "10.0.0.7:5555"],
)  # fmt: skip
def test_a_name_that_others_may_point_to_this_machine_is_refused(host):
    assert status("GET", "/healthcheck", KNOWN | {"host": host}) == 421


def test_a_request_without_a_host_is_refused():
    assert status("GET", "/", basic("tx81", "secret")) == 421


def test_a_name_that_the_settings_give_is_let_in():
    assert status("GET", "/", KNOWN | {"host": "flower.example"}, names=frozenset({"flower.example"})) == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "https://evil.example"},
        {"origin": "null"},
        {"origin": "http://127.0.0.1:8081"},
        {"origin": "http://127.0.0.1:5555.evil.example"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "image"},
        {"sec-fetch-site": "same-site", "sec-fetch-mode": "cors", "sec-fetch-dest": "empty"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"},
        {"origin": "https://evil.example", "upgrade": "websocket", "connection": "Upgrade"},
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS"])
def test_a_page_of_another_origin_is_refused_even_with_the_password(method, headers):
    assert status(method, "/api/workers", KNOWN | headers, control=True) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://127.0.0.1:5555", "sec-fetch-site": "same-origin"},
        {"sec-fetch-site": "none", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "document"},
        {},
    ],
)
def test_its_own_pages_a_typed_address_a_link_and_a_program_are_let_in(headers):
    assert status("GET", "/api/workers", KNOWN | headers) == 200


@pytest.mark.parametrize(
    "authorization",
    ["", "Basic", "Basic !!!", "Basic dHg4MQ==", "Bearer dHg4MTpzZWNyZXQ=", "Basic 中文"],
)
def test_what_is_not_the_password_is_no_way_in(authorization):
    assert status("GET", "/workers", HOST | {"authorization": authorization}) == 401
    assert status("GET", "/workers", HOST | basic("tx81", "Secret")) == 401
    assert status("GET", "/workers", HOST | basic("admin", "secret")) == 401


def test_only_the_health_check_asks_for_no_password():
    assert status("GET", "/healthcheck", HOST) == 200
    assert status("POST", "/healthcheck", HOST) == 401
    assert {status("GET", path, HOST) for path in ("/", "/metrics", "/static/js/flower.js", "/api/workers")} == {401}


def test_who_may_only_look_cannot_change_anything():
    assert status("POST", "/api/task/revoke/1.1", KNOWN) == 403
    assert status("POST", "/api/task/revoke/1.1", KNOWN, control=True) == 200
    assert status("POST", "/tasks/datatable", KNOWN) == 200


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "TRACE", "get"])
def test_methods_that_flower_does_not_need_are_refused(method):
    assert status(method, "/api/workers", KNOWN, control=True) == 405


SESSION = "s" * 43
OURS = {"origin": "http://127.0.0.1:5555", "sec-fetch-site": "same-origin"}


def by_session(method: str, path: str, scope: str, *, cookie: str = f"tx81-session-8081={SESSION}", **more) -> int:
    asked: list[str] = []

    def scopes_of(secret: str) -> tuple[str, ...]:
        asked.append(secret)
        return (scope,) if secret == SESSION else ()

    found = status(method, path, HOST | {"cookie": cookie} | more.pop("headers", {}), scopes_of=scopes_of, **more)
    assert len(asked) <= 4
    return found


@pytest.mark.parametrize(
    "cookie",
    [
        f"tx81-session-8081={SESSION}",
        f"theme=dark; __Host-tx81-session={SESSION}; zone=UTC",
        f"tx81-session-9000={'o' * 43}; tx81-session={SESSION}",
    ],
)
def test_a_browser_that_is_signed_in_to_the_dashboard_may_look(cookie):
    assert by_session("GET", "/", "viewer", cookie=cookie) == 200
    assert by_session("POST", "/tasks/datatable", "viewer", cookie=cookie) == 200


@pytest.mark.parametrize(
    "cookie",
    [
        "",
        f"tx81-session-8081={'x' * 43}",
        f"other-session={SESSION}",
        "tx81-session-8081=",
        "tx81-session-8081=" * 9999,
    ],
)
def test_without_a_session_of_this_installation_nobody_looks(cookie):
    assert by_session("GET", "/", "viewer", cookie=cookie) == 401


def test_a_session_that_may_not_read_does_not_look():
    assert by_session("GET", "/", "inference") == 401


def test_a_session_controls_by_an_operator_and_from_flowers_own_page():
    path = "/api/task/revoke/1.1"

    assert by_session("POST", path, "operator", headers=OURS, control=True) == 200
    assert by_session("POST", path, "submitter", headers=OURS, control=True) == 403
    assert by_session("POST", path, "operator", control=True) == 403
    assert by_session("POST", path, "operator", headers={"origin": "http://127.0.0.1:8081"}, control=True) == 403
    assert by_session("POST", path, "operator", headers=OURS) == 403


def test_a_session_is_looked_up_for_no_page_of_another_origin():
    asked: list[str] = []
    headers = HOST | {"cookie": f"tx81-session={SESSION}", "origin": "https://evil.example"}

    assert status("GET", "/", headers, scopes_of=lambda secret: asked.append(secret) or ()) == 403
    assert asked == []
