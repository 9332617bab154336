"""A token is exchanged for a session: who gets one, how long it lasts, and what another site can do with it."""

import re

import pytest
from sqlalchemy import select, update

from api.http.cookies import ORDER_HEADER
from orchestrator import sign_ins, tokens
from orchestrator.storage.tables import SignInLink, Slot, WebSession


def link_of(http) -> str:
    made = http.post("/sign-in-links")
    assert made.status_code == 201
    path, _, code = made.json()["path"].partition("#")
    assert path == "/sign-in"
    return code


def test_who_is_not_signed_in_is_asked_to_and_comes_back_to_the_page(browser, token):
    asked = browser.get("/board?x=1", follow_redirects=False)

    assert asked.status_code == 303
    assert asked.headers["location"] == "/sign-in?next=%2Fboard%3Fx%3D1"
    form = browser.get(asked.headers["location"])
    assert 'value="/board?x=1"' in form.text
    after = browser.post("/sign-in", data={"token": token, "next": "/board?x=1"}, follow_redirects=False)
    assert (after.status_code, after.headers["location"]) == (303, "/board?x=1")


@pytest.mark.parametrize(
    "address", ["//evil.example/", "https://evil.example/", "/\\evil.example", "javascript:alert(1)"]
)
def test_signing_in_leads_to_no_other_site(browser, token, address):
    after = browser.post("/sign-in", data={"token": token, "next": address}, follow_redirects=False)

    assert after.headers["location"] == "/"


def test_the_cookie_is_shown_to_no_script_and_sent_from_no_other_site(browsers, token):
    plain = browsers().post("/sign-in", data={"token": token}, follow_redirects=False).headers["set-cookie"]
    by_tls = browsers().post("https://lab/sign-in", data={"token": token}, follow_redirects=False).headers["set-cookie"]

    assert plain.startswith("tx81-session-8081=")
    assert "HttpOnly" in plain
    assert "SameSite=strict" in plain
    assert "Max-Age=604800" in plain
    assert "Secure" not in plain
    assert by_tls.startswith("__Host-tx81-session=")
    assert "Secure" in by_tls


def test_a_wrong_token_is_refused_without_a_cookie(browser):
    answer = browser.post("/sign-in", data={"token": "tx81_wrong"})

    assert answer.status_code == 401
    assert "unknown or was revoked" in answer.text
    assert not answer.cookies


def test_a_token_that_may_not_read_cannot_sign_in(browser, database):
    token = tokens.make(database, "program", ("inference",))

    answer = browser.post("/sign-in", data={"token": token})

    assert answer.status_code == 403
    assert "--scope viewer" in answer.text


def test_signing_out_ends_the_session_on_the_server(signed_in):
    browser = signed_in("viewer")
    cookies = dict(browser.cookies)

    answer = browser.post("/sign-out")

    assert answer.headers["hx-redirect"] == "/sign-in"
    browser.cookies.update(cookies)
    assert browser.get("/", follow_redirects=False).status_code == 303


def test_a_session_ends_with_its_token(signed_in, database):
    browser = signed_in("viewer", name="gone")
    tokens.make(database, "admin", ("admin",))

    tokens.revoke(database, "gone", by="admin")

    assert browser.get("/", follow_redirects=False).status_code == 303
    assert browser.get("/api/v1/jobs").status_code == 401


def test_a_session_ends_by_its_age(signed_in, database):
    browser = signed_in("viewer")
    with database.write() as session:
        session.execute(update(WebSession).values(expires_at=database.now(session)))

    assert browser.get("/", follow_redirects=False).status_code == 303


def test_no_secret_is_stored(browser, token, http, database):
    code = link_of(http)
    browser.post("/sign-in", data={"token": token})

    with database.read() as session:
        stored = {*session.scalars(select(WebSession.sha256)), *session.scalars(select(SignInLink.sha256))}
    assert len(stored) == 2
    assert stored.isdisjoint({code, *browser.cookies.values()})


def test_a_link_signs_one_browser_in(browsers, http):
    code = link_of(http)

    first = browsers().post("/sign-in", data={"code": code}, follow_redirects=False)
    second = browsers().post("/sign-in", data={"code": code}, follow_redirects=False)

    assert first.status_code == 303
    assert second.status_code == 401
    assert "tx81 open" in second.text


def test_an_old_link_signs_nobody_in(browser, http, database):
    code = link_of(http)
    with database.write() as session:
        session.execute(update(SignInLink).values(expires_at=database.now(session)))

    assert browser.post("/sign-in", data={"code": code}).status_code == 401


def test_another_site_cannot_sign_a_person_in(browser, token):
    answer = browser.post("/sign-in", data={"token": token}, headers={"Sec-Fetch-Site": "cross-site"})

    assert answer.status_code == 403


def test_a_link_in_a_chat_leads_to_its_page_although_the_cookie_comes_second(signed_in):
    browser = signed_in("viewer")
    browser.cookies.clear()  # as a browser does with a request that another site begins

    page = browser.get("/?x=<y>", headers={"Sec-Fetch-Site": "cross-site"})

    assert 'http-equiv="refresh" content="0; url=/?x=' in page.text
    assert "<y>" not in page.text


@pytest.mark.parametrize("path", ["/slots/lab.g0/drain", "/api/v1/slots/lab.g0/drain", "/api/v1/jobs"])
def test_an_order_without_the_code_of_its_page_is_refused(signed_in, database, path):
    with database.write() as session:
        session.add(Slot(id="lab.g0", host="lab", name="g0", kind="card_group"))
    browser = signed_in("operator")

    for code in ("", "0" * 64):
        browser.headers[ORDER_HEADER] = code
        assert browser.post(path, json={}).status_code == 403
    with database.read() as session:
        assert session.get(Slot, "lab.g0").service_state == "in_service"


def test_the_rest_routes_answer_a_signed_in_browser_within_its_scope(signed_in):
    browser = signed_in("viewer")

    assert browser.get("/api/v1/jobs").status_code == 200
    assert browser.get("/api/v1/tokens").status_code == 403
    assert browser.post("/api/v1/slots/lab.g0/drain").status_code == 403


def test_a_form_of_an_unknown_sender_is_small(browser):
    assert browser.post("/sign-in", content=b"token=" + b"x" * 70_000).status_code == 413
    assert browser.post("/sign-in", content="&".join(f"a{n}=1" for n in range(2000))).status_code == 422
    assert browser.post("/sign-in", content=b"\xff\xfe").status_code == 422


def test_the_code_of_a_session_is_no_other_sessions():
    assert sign_ins.fits("one", sign_ins.order_code("one"))
    assert not sign_ins.fits("one", sign_ins.order_code("two"))
    assert not re.search("one", sign_ins.order_code("one"))
