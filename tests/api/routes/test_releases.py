"""What hosts have found of a release, as HTTP sees it."""

import pytest
from builders.rows import a_release

from api.client.client import ApiError
from orchestrator.model.release_checks import Finding, Level, ReleaseCheck


@pytest.fixture(autouse=True)
def release(database):
    with database.write() as session:
        a_release(session)


def a_check(host: str = "lab1", *levels: Level) -> ReleaseCheck:
    findings = [Finding(level=level, about="convert", detail="不认识 --input_model") for level in levels or (Level.OK,)]
    return ReleaseCheck(release="r1", host=host, root="/opt/tools", findings=tuple(findings))


def test_the_latest_check_of_each_host_is_kept(client):
    client.keep_release_check(a_check("lab2"))
    client.keep_release_check(a_check("lab1", Level.OK, Level.ERROR))
    client.keep_release_check(a_check("lab1", Level.NOTE))

    lab1, lab2 = client.release_checks("r1")

    assert (lab1.host, lab1.ok, lab1.by, lab1.findings) == ("lab1", True, "test", a_check("lab1", Level.NOTE).findings)
    assert (lab2.host, lab2.ok, lab2.root) == ("lab2", True, "/opt/tools")


def test_a_check_with_an_error_is_not_ok_whatever_its_sender_says(client, http):
    body = a_check("lab1", Level.ERROR).model_dump(mode="json", include={"root", "findings"})

    kept = http.put("/releases/r1/checks/lab1", json=body)
    lied = http.put("/releases/r1/checks/lab1", json={**body, "ok": True})

    assert kept.json()["ok"] is False
    assert (lied.status_code, lied.json()["field"]) == (422, "ok")


def test_a_check_of_an_unknown_release_is_refused(client):
    unknown = a_check().model_copy(update={"release": "r9"})

    for call in (lambda: client.keep_release_check(unknown), lambda: client.release_checks("r9")):
        with pytest.raises(ApiError) as refusal:
            call()
        assert refusal.value.status == 404


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"root": "tools"}, "root"),
        ({"findings": [{"level": "bad", "about": "a", "detail": "b"}]}, "findings.0.level"),
        ({"findings": [{"level": "ok", "about": "a" * 201, "detail": "b"}]}, "findings.0.about"),
        ({"findings": None}, "findings"),
    ],
)
def test_what_is_no_check_is_refused_with_its_field(http, change, field):
    body = {"root": "/opt/tools", "findings": [], **change}

    answer = http.put("/releases/r1/checks/lab1", json=body)

    assert (answer.status_code, answer.json()["field"]) == (422, field)
