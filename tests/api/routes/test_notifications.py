import pytest

from orchestrator import tokens
from orchestrator.model.scopes import Scope

TARGET = {"name": "lab", "url": "https://hooks.invalid:8443/T/hush-hush?k=hush-hush"}


def test_a_secret_is_shown_once_and_the_rest_of_the_url_never(http):
    made = http.post("/notifications", json=TARGET)
    listed, log = http.get("/notifications"), http.get("/notifications/lab/deliveries")

    assert made.status_code == 201
    assert made.json()["secret"].startswith("whsec_")
    assert made.json()["url"] == "https://hooks.invalid:8443/***"
    for answer in (made, listed, log):
        assert "hush-hush" not in answer.text
    assert "whsec_" not in listed.text + log.text
    assert listed.json()["items"][0]["created_by"] == "test"


def test_a_service_has_no_secret_of_ours_and_is_shown_by_its_name(http):
    made = http.post(
        "/notifications", json={"name": "chat", "kind": "apprise", "url": "dingtalk://hushhush@ABCDEF12345"}
    )

    assert (made.json()["secret"], made.json()["url"]) == (None, "dingtalk://***")
    assert "hush" not in http.get("/notifications").text


@pytest.mark.parametrize(
    ("change", "status", "field"),
    [
        ({"url": "http://169.254.169.254/latest"}, 422, "url"),
        ({"url": "http://127.0.0.1:9/hush-hush"}, 422, "url"),
        ({"url": "https://u:hush-hush@h/"}, 422, "url"),
        ({"url": "x" * 3000}, 422, "url"),
        ({"kind": "apprise", "url": "json://h/hush-hush"}, 422, "url"),
        ({"name": "a/b"}, 422, "name"),
        ({"kind": "pigeon"}, 422, "kind"),
    ],
)
def test_a_target_that_cannot_be_used_is_refused_with_its_field(http, change, status, field):
    answer = http.post("/notifications", json={**TARGET, **change})

    assert (answer.status_code, answer.json()["field"]) == (status, field)
    assert "hush-hush" not in answer.text
    assert http.get("/notifications").json()["items"] == []


def test_messages_are_ordered_paged_and_sent_again(http):
    http.post("/notifications", json=TARGET)
    first, second = (http.post("/notifications/lab/test").json() for _ in range(2))

    newest = http.get("/notifications/lab/deliveries?limit=1").json()
    rest = http.get(f"/notifications/lab/deliveries?limit=1&cursor={newest['next']}").json()

    assert [newest["items"][0]["id"], rest["items"][0]["id"]] == [second["id"], first["id"]]
    assert newest["items"][0]["document"]["data"]["by"] == "test"
    assert http.post(f"/notifications/lab/deliveries/{first['id']}/resend").status_code == 409
    assert http.post("/notifications/lab/deliveries/99/resend").status_code == 404
    assert http.post("/notifications/none/test").status_code == 404
    assert http.get("/notifications/none/deliveries").status_code == 404
    assert http.post("/notifications", json=TARGET).status_code == 409


def test_a_target_is_removed_with_its_log(http):
    http.post("/notifications", json=TARGET)
    http.post("/notifications/lab/test")

    assert http.delete("/notifications/lab").status_code == 204
    assert http.delete("/notifications/lab").status_code == 404
    assert http.get("/notifications").json()["items"] == []


def test_only_an_admin_adds_targets_and_an_operator_tries_them(http, database):
    http.post("/notifications", json=TARGET)
    operator = {"Authorization": f"Bearer {tokens.make(database, 'op', (Scope.OPERATOR,))}"}

    assert http.post("/notifications", json={**TARGET, "name": "x"}, headers=operator).status_code == 403
    assert http.delete("/notifications/lab", headers=operator).status_code == 403
    assert http.post("/notifications/lab/test", headers=operator).status_code == 201
