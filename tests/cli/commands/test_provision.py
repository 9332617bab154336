"""Setting up a host from the shell. Nothing runs there: the host has slots, and no workers."""

import json
import sqlite3
import threading

import pytest
from eventually import eventually

from api.client.client import Client
from orchestrator.model.provision import ProvisionRequest


@pytest.fixture
def host(site, at_site, request) -> str:
    """A host of its own with all eight card groups."""
    name = f"lab-{abs(hash(request.node.name)) % 10**8}"
    database = sqlite3.connect(site.token_file.with_name("tx81.db"))
    with database:
        for index in range(8):
            database.execute(
                "INSERT INTO slot (id, host, name, kind, service_state) VALUES (?, ?, ?, 'card_group', 'in_service')",
                (f"{name}.g{index}", name, f"g{index}"),
            )
    database.close()
    return name


@pytest.fixture
def named(site) -> dict[str, str]:
    """What has to be said."""
    home = site.tools["home"]
    return {"packages": f"{home}/p", "root": f"{home}/r", "release": "r2", "profile": "txnn_1.2.1_build0307"}


def words(named: dict[str, str]) -> list[str]:
    return [word for name, value in named.items() for word in (f"--{name}", value)]


def test_it_follows_the_job_to_its_end_and_ends_as_it_did(site, tx81, host, named):
    def cancelled() -> None:
        with Client(site.server, site.token) as client:
            job = eventually(lambda: list(client.all_jobs(kind="provision", name=f"provision-{host}")))[0]
            client.cancel(job.id)

    canceller = threading.Thread(target=cancelled)
    canceller.start()
    ran = tx81("provision", host, *words(named), "--steps", "packages, driver", "--output", "json")
    canceller.join()

    assert ran.code == 1
    assert "what it waits for: tx81 explain" in ran.err
    asked = ran.document["job"]
    assert (asked["kind"], asked["state"], asked["release"]) == ("provision", "cancelled", None)
    assert (asked["spec"]["host"], asked["spec"]["steps"]) == (host, ["packages", "driver"])
    assert ran.document["report"] is None


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({"steps": "engin"}, "there is no step 'engin'"),
        ({"root": "/etc"}, "not under an allowed root"),
        ({"root": "r"}, "absolute path"),
        ({"release": "-x"}, "release"),
        ({"profile": "none"}, "no profile 'none'"),
    ],
)
def test_what_makes_no_sense_is_refused_in_one_line(tx81, host, named, more, told):
    ran = tx81("provision", host, *words(named | more))

    assert ran.code in (2, 5)
    assert told in ran.err
    assert ran.err.count("\n") == 1


def test_a_host_that_nobody_knows_is_refused(tx81, at_site, named):
    ran = tx81("provision", "nowhere", *words(named))

    assert (ran.code, "nowhere" in ran.err) == (5, True)


def test_what_was_asked_for_is_shown_like_any_job(site, tx81, host, named):
    with Client(site.server, site.token) as client:
        job = client.provisioning.start(host, ProvisionRequest.model_validate(named)).id
        shown, listed, why = tx81("show", job), tx81("jobs", "--kind", "provision"), tx81("explain", job)
        client.cancel(job)

    assert (shown.code, f"provision-{host}" in shown.out) == (0, True)
    assert f"provision-{host}" in listed.out
    assert "no_such_slot_alive" in why.out or "no host has 8 slots" in why.out
    assert json.loads(tx81("show", job, "--output", "json").out)["request"]["by"] == "admin"
