"""Servers: what is shown of each, and stopping them. Projects and tokens, whose pages are as small."""

import re
from dataclasses import replace

import pytest
from builders import lifecycle

from orchestrator.storage.tables import Job


@pytest.fixture
def server(database) -> int:
    with database.write() as session:
        lifecycle.a_job(session)
        return lifecycle.a_ready_server(session).job_id


def main(page: str) -> str:
    return page.partition("<main")[2]


def test_a_ready_server_is_listed_with_its_address(signed_in, server):
    browser = signed_in("viewer")

    page = browser.get("/servers").text

    assert f'href="/servers/{server}"' in page
    assert "http://127.0.0.1:20000" in page
    assert "ready" in main(page)
    assert "No server runs" in browser.get("/servers?model=llama").text


def test_a_server_has_a_chat_for_who_may_ask_it(signed_in, server):
    viewer, submitter = (signed_in(scope).get(f"/servers/{server}").text for scope in ("viewer", "submitter"))

    assert "<tx81-chat" not in viewer
    assert "that needs the scope inference" in viewer
    assert '<tx81-chat data-model="qwen"' in submitter
    assert "http://lab:8081/v1" in submitter
    assert f"/servers/{server}/stop" in submitter


def test_a_job_that_is_no_server_has_no_page_of_one(signed_in, server):
    browser = signed_in("viewer")

    assert browser.get("/servers/1").status_code == 404
    assert browser.get("/servers/99").status_code == 404


def test_a_server_is_stopped_with_a_reason_by_who_may(signed_in, server, database):
    viewer = signed_in("viewer")
    assert viewer.post(f"/servers/{server}/stop").status_code == 403

    told = signed_in("submitter", name="eva").post(f"/servers/{server}/stop", data={"note": "night"})

    assert "Done for 1 job." in told.text
    with database.read() as session:
        assert (session.get(Job, server).stop["by"], session.get(Job, server).stop["why"]) == ("eva", "night")
    assert "stopping" in viewer.get("/servers").text


def test_the_weight_of_a_project_is_set_by_operators(signed_in, server):
    viewer, operator = signed_in("viewer"), signed_in("operator")

    assert "hx-post" not in main(viewer.get("/projects").text)
    assert viewer.post("/projects", data={"name": "a", "weight": "2"}).status_code == 403
    assert operator.post("/projects", data={"name": "a", "weight": "2"}).status_code == 204
    assert 'id="project-a"' in viewer.get("/projects").text
    for wrong in ({"name": "a", "weight": "x"}, {"name": "a"}, {"weight": "1"}, {"name": "a b", "weight": "1"}):
        assert operator.post("/projects", data=wrong).status_code == 422
    assert operator.post("/projects", data={"name": "a", "weight": "nan"}).status_code == 422


def test_a_token_is_shown_once_and_works_until_it_is_revoked(signed_in, browsers):
    admin = signed_in("admin", name="root")

    made = admin.post("/tokens", data={"name": "wall", "scope": "viewer"}).text
    (value,) = re.findall(r"tx81_[\w-]+", made)

    assert "wall" in admin.get("/tokens").text
    assert value not in admin.get("/tokens").text
    bearer = {"Authorization": f"Bearer {value}"}
    assert browsers().get("/api/v1/jobs", headers=bearer).status_code == 200
    renewed = admin.post("/tokens/wall/rotate").text
    assert browsers().get("/api/v1/jobs", headers=bearer).status_code == 401
    assert value not in renewed
    assert admin.post("/tokens/wall/revoke").status_code == 204
    assert "wall" not in main(admin.get("/tokens").text)
    assert "wall" in admin.get("/tokens?retired=true").text


def test_tokens_are_for_admins(signed_in):
    operator = signed_in("operator")

    assert operator.get("/tokens").status_code == 403
    assert operator.post("/tokens", data={"name": "x", "scope": "admin"}).status_code == 403
    assert 'href="/tokens"' not in operator.get("/").text


@pytest.mark.parametrize("form", [{}, {"name": "x"}, {"name": "x", "scope": "god"}, {"name": "<b>", "scope": "viewer"}])
def test_a_token_that_makes_no_sense_is_refused(signed_in, form):
    answer = signed_in("admin").post("/tokens", data=form, headers={"HX-Request": "true"})

    assert answer.status_code == 422
    assert "<b>&lt;" not in answer.text.replace("<b>name</b>", "")


@pytest.mark.parametrize(
    ("link", "shown"),
    [("", None), (":5556", "http://lab:5556"), ("https://flower.example.org", "https://flower.example.org")],
)
def test_pages_link_flower_by_the_name_that_the_browser_knows(signed_in, app, server, link, shown):
    context = app.state.context
    app.state.context = replace(context, settings=context.settings.model_copy(update={"flower_link": link}))

    page = signed_in("viewer").get("/").text

    assert re.findall(r'<a href="([^"]*)"[^>]*>Flower</a>', page) == ([shown] if shown else [])
