import re
from datetime import UTC, datetime, timedelta

import pytest
from builders.rows import a_job_row, a_slot_row, an_attempt
from rich.console import Console

from api.client.client import ApiError
from api.documents.slots import Occupancy, Presence
from cli.pages.jobs import job_page
from cli.pages.slot_history import slot_page
from orchestrator.model.slots import GOLDEN_LABEL, SlotKind
from orchestrator.model.states import ServiceState
from orchestrator.storage.events import record
from orchestrator.storage.tables import Lease


def printed(page) -> str:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(page)
    return shown.get()


def page_of(slot) -> str:
    return printed(slot_page(slot))


@pytest.fixture
def two_hosts(database) -> None:
    now = datetime.now(UTC)
    with database.write() as session:
        a_slot_row(session, "lab1.g0", heartbeat_at=now, labels={"rack": "甲"})
        a_slot_row(session, "lab1.g1", heartbeat_at=now, service_state=ServiceState.QUARANTINED)
        a_slot_row(session, "lab1.cpu0", heartbeat_at=now)
        a_slot_row(session, "lab2.g0", heartbeat_at=now - timedelta(hours=1))
        attempt = an_attempt(session, a_job_row(session), slot_id="lab1.cpu0")
        session.add(Lease(slot_id="lab1.cpu0", attempt_id=attempt.id, expires_at=now + timedelta(minutes=1)))


def test_hosts_are_listed_with_how_their_slots_stand(client, two_hosts):
    lab1, lab2 = client.hosts()

    assert (lab1.name, lab1.labels, lab1.slots, lab1.away_since) == ("lab1", {"rack": "甲"}, 3, None)
    assert lab1.free == {SlotKind.CARD_GROUP: 1}
    assert lab1.occupancy == {Occupancy.FREE: 2, Occupancy.RUNNING: 1}
    assert lab1.service == {ServiceState.IN_SERVICE: 2, ServiceState.QUARANTINED: 1}
    assert (lab2.presence, lab2.free) == ({Presence.LOST: 1}, {})
    assert lab2.away_since == lab2.last_seen_at


def test_one_host_is_shown_with_its_slots(client, two_hosts):
    assert [place.id for place in client.host("lab1").places] == ["lab1.g0", "lab1.g1", "lab1.cpu0"]


@pytest.mark.parametrize("name", ["lab3", "../slots", "主机"])
def test_a_host_that_is_not_there_is_not_shown(client, two_hosts, name):
    with pytest.raises(ApiError) as refused:
        client.host(name)

    assert refused.value.status in (404, 422)


PROVISION = {"packages": "/srv/p", "root": "/opt/r", "release": "r2", "profile": "txnn_1.2.1_build0307"}


def test_a_host_can_not_be_set_up_by_a_job_that_anyone_may_submit(http, two_hosts):
    answer = http.post("/jobs", json={"spec": {**PROVISION, "kind": "provision", "host": "lab1"}})

    assert (answer.status_code, answer.json()["field"]) == (422, "spec")


@pytest.mark.parametrize(
    ("host", "body", "status", "field"),
    [
        ("lab1", PROVISION, 422, "packages"),
        ("lab1", {**PROVISION, "dryrun": True}, 422, "dryrun"),
        ("lab1", {**PROVISION, "profile": "unknown"}, 422, "profile"),
        ("lab1", {**PROVISION, "force": True}, 422, None),
    ],
)
def test_a_host_is_not_set_up_from_a_request_that_makes_no_sense(http, two_hosts, host, body, status, field):
    answer = http.post(f"/hosts/{host}/provision", json=body)

    assert (answer.status_code, answer.json().get("field")) == (status, field)
    assert http.get("/jobs?kind=provision").json()["items"] == []


def test_a_slot_says_which_releases_its_host_turned_out_to_lack(client, database):
    with database.write() as session:
        lack = {"why": "another build is there", "since": "2026-01-01T00:00:00Z", "until": None, "probes": 0}
        a_slot_row(session, "lab1.g0", lacks={"r1": lack, "!disk": {**lack, "why": "disk full"}})
        a_slot_row(session, "lab1.g1")

    assert {name: lack.why for name, lack in client.slot("lab1.g0").lacks.items()} == {
        "r1": "another build is there", "!disk": "disk full",
    }  # fmt: skip
    assert "excluded for all jobs: disk full" in page_of(client.slot("lab1.g0"))
    assert "excluded for jobs of release r1: another build is there" in page_of(client.slot("lab1.g0"))
    assert client.slot("lab1.g1").lacks == {}


def test_a_slot_whose_worker_hears_nothing_says_so_and_is_not_free(client, database):
    with database.write() as session:
        now = database.now(session)
        deaf = {"reason": "it does not receive its doorbells", "attempt_id": 7, "at": now.isoformat()}
        a_slot_row(session, "lab1.g0", heartbeat_at=now, deaf=deaf, misrouted_bells=3)

    slot = client.slot("lab1.g0")

    assert (slot.presence, slot.misrouted_bells) == (Presence.DEAF, 3)
    assert "it does not receive its doorbells" in page_of(slot)
    assert "doorbells for other slots, dropped: 3" in page_of(slot)
    assert client.host("lab1").free == {}


def test_what_one_seat_has_for_golden_jobs_is_told_of_its_host(client, database):
    now = datetime.now(UTC)
    with database.write() as session:
        a_slot_row(session, "lab1.cpu0", heartbeat_at=now - timedelta(seconds=1), labels={"rack": "a", **GOLDEN_LABEL})
        a_slot_row(session, "lab1.g0", heartbeat_at=now, labels={"rack": "a"})

    assert client.host("lab1").labels == {"rack": "a", "golden": "yes"}


def test_a_slot_shows_its_history_and_what_its_cards_measured(client, database):
    celsius = {"min": 41, "mean": 48.5, "max": 91, "max_card": 2, "points": [[3, 50], [33, 91]]}
    telemetry = {"samples": 2, "sampling_seconds": 0.4, "measures": {"celsius": celsius}}
    with database.write() as session:
        now = database.now(session)
        a_slot_row(session, "lab1.g0", heartbeat_at=now)
        attempt = an_attempt(session, a_job_row(session), slot_id="lab1.g0", ended_at=now, telemetry=telemetry)
        job_id = attempt.job_id
        record(session, "slot.drained", now, slot_id="lab1.g0", by="ann", note="card 2 swapped")

    slot, job = client.slot("lab1.g0"), client.job(job_id)

    assert [(event.what, event.by, event.why) for event in slot.history] == [("drained", "ann", "card 2 swapped")]
    assert "card 2 swapped" in page_of(slot)
    assert slot.recent[0].telemetry.measures["celsius"].points == ()
    assert job.attempts[0].telemetry.measures["celsius"].points == ((3, 50), (33, 91))
    for page in (slot_page(slot), job_page(job)):
        assert re.search(r"celsius +41 +48.5 +91 +2", printed(page))
