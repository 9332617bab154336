"""Slots and hosts: what is shown of a card group, and which orders it takes."""

import re

import pytest
from builders import lifecycle
from builders.rows import a_release

from orchestrator.model.failures import Failure, FailureKind
from orchestrator.storage.tables import Slot

HOSTILE = "<script>alert(1)</script>\u202e"


@pytest.fixture
def settings(settings, tmp_path):
    return settings.model_copy(update={"allowed_roots": (tmp_path,)})


@pytest.fixture
def lab(database):
    """Two card groups; on the first an attempt has failed with a fault."""
    with database.write() as session:
        first, second = lifecycle.a_slot(session, "g0"), lifecycle.a_slot(session, "g1")
        attempt = lifecycle.a_running_attempt(session, lifecycle.a_job(session), first)
        lifecycle.finish(session, attempt, Failure(kind=FailureKind.FAULT, reason=HOSTILE))
        return [first.id, second.id]


def main(page: str) -> str:
    return page.partition("<main")[2]


def test_slots_are_listed_with_their_states_and_filtered_by_the_address(signed_in, lab):
    browser = signed_in("operator", name="eva")
    assert browser.post(f"/slots/{lab[1]}/drain", data={"note": HOSTILE}).status_code == 200

    every, drained = browser.get("/slots").text, browser.get("/slots?state=drained").text

    assert all(f'href="/slots/{slot}"' in every for slot in lab)
    assert lab[0] not in main(drained)
    assert "&lt;script&gt;alert(1)" in drained
    assert "No slot fits these filters" in browser.get("/slots?host=elsewhere").text


def test_a_lab_without_slots_says_how_to_get_one(signed_in):
    page = signed_in("viewer").get("/slots").text

    assert "There are no slots yet" in page
    assert "python -P -m workers" in page


def test_a_slot_has_its_history_its_course_and_its_days(signed_in, lab):
    page = main(signed_in("viewer").get(f"/slots/{lab[0]}").text)

    assert "&lt;script&gt;alert(1)" in page
    assert "<script" not in page
    assert re.search(r'data-points="\[\[\d+\.\d+', page)
    assert page.count('<th scope="row">') == 14
    assert "infrastructure fault" in page
    assert "hx-post" not in page


def test_an_order_of_a_slot_is_for_operators(signed_in, lab):
    page = signed_in("operator").get(f"/slots/{lab[0]}").text

    assert "/drain" in page
    assert "/canary" in page
    assert signed_in("submitter").post(f"/slots/{lab[0]}/canary").status_code == 403


def test_a_canary_that_cannot_run_says_why(signed_in, lab):
    told = signed_in("operator").post(f"/slots/{lab[0]}/canary", headers={"HX-Request": "true"})

    assert told.status_code in (404, 409, 422)
    assert "canary" in told.text


def test_a_host_shows_its_slots_and_an_admin_can_set_it_up(signed_in, lab, database):
    host = lab[0].rpartition(".")[0]

    viewer = signed_in("viewer")
    page = viewer.get(f"/hosts/{host}").text

    assert page.count('<article class="tile') == 2
    assert "/provision" not in page
    assert "/provision" in signed_in("admin").get(f"/hosts/{host}").text
    assert viewer.get("/hosts/nowhere").status_code == 404


@pytest.mark.parametrize(
    ("form", "told"),
    [
        ({}, "packages"),
        ({"packages": "srv", "root": "/opt/x", "release": "r2", "profile": "p"}, "packages"),
        ({"packages": "/srv", "root": "/opt/x", "release": "r2", "profile": "p", "without": "g9"}, "without"),
        ({"packages": "/srv", "root": "/opt/x", "release": "r2", "profile": "unknown"}, "profile"),
    ],
)
def test_setting_up_with_something_wrong_names_the_field(signed_in, lab, form, told):
    host = lab[0].rpartition(".")[0]

    answer = signed_in("admin").post(f"/hosts/{host}/provision", data=form, headers={"HX-Request": "true"})

    assert answer.status_code == 422
    assert told in answer.text
    assert signed_in("operator").post(f"/hosts/{host}/provision", data=form).status_code == 403


def test_a_dry_run_leads_to_its_job(signed_in, lab, database, tmp_path):
    with database.write() as session:
        a_release(session)
        lifecycle.a_slot(session, "cpu0")
    host = lab[0].rpartition(".")[0]
    form = {
        "packages": str(tmp_path), "root": str(tmp_path / "to"), "release": "r2", "profile": "txnn_1.2.1_build0307",
        "dry_run": "1",
    }  # fmt: skip

    answer = signed_in("admin").post(f"/hosts/{host}/provision", data=form, headers={"HX-Request": "true"})

    assert answer.status_code == 204, answer.text
    assert "dry_run" in signed_in("viewer").get(answer.headers["hx-redirect"]).text


def test_the_health_of_a_slot_is_in_the_api(http, lab):
    health = http.get(f"/slots/{lab[0]}/health?days=3&zone=Asia/Shanghai").json()

    assert len(health["days"]) == 3
    assert health["days"][-1]["faults"] >= 0
    assert health["course"][-1]["score"] == 0
    assert http.get(f"/slots/{lab[0]}/health?zone=Mars/Olympus").json()["field"] == "zone"
    assert http.get("/slots/lab.g9/health").status_code == 404


def test_what_is_renewed_of_a_slot_leaves_its_plots_alone(signed_in, lab):
    part = signed_in("viewer").get(f"/slots/{lab[0]}", headers={"HX-Request": "true"}).text

    assert '<div id="slot"' in part
    assert "data-points" not in part


def test_who_drained_and_why_is_told(signed_in, lab, database):
    browser = signed_in("operator", name="eva")
    browser.post(f"/slots/{lab[1]}/drain", data={"note": "swap cards"})

    page = browser.get(f"/slots/{lab[1]}").text

    assert "swap cards" in page
    assert "(eva)" in page
    with database.read() as session:
        assert session.get(Slot, lab[1]).service_change["note"] == "swap cards"
