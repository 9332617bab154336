"""Every page of the application in a real browser, in both languages and themes: nothing from elsewhere, no violation
of our policy, no error of a script, nothing that axe objects to.

A new page is found by its route. If its address has a parameter that is not in `KNOWN`, or needs a query, add it here.
"""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from builders import lifecycle
from builders.browsers import needs_chromium
from builders.results import a_batch
from builders.rows import a_model
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute
from playwright.sync_api import Page
from sqlalchemy import select

from api.client.client import Client
from api.pages.guard import OpenPageRoute, PageRoute
from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.states import JobState, ServiceState
from orchestrator.storage import live_logs
from orchestrator.storage.tables import Answer, Attempt, Metric, Pipeline, Slot

pytestmark = needs_chromium

AXE = (Path(__file__).parent / "axe" / "axe.min.js").read_text()
VIEWS = (("en", "light"), ("zh_CN", "dark"))
"""Each language and each theme once."""

KNOWN = {
    **dict.fromkeys(("job", "batch", "pipeline"), "1"),
    "slot": "lab1.g0",
    "host": "lab1",
    "model": "some-model",
    "release": "r1",
}
"""What stands for the parameters of addresses."""

NOT_HERE = frozenset({"suite", "run", "case"})
"""Parameters of pages whose rows take a whole suite to make."""

SWAGGER = "/docs"
"""Its inside is not ours, and has a `main` of its own: axe is not asked."""

SERVER = "/servers/{job}"
"""Of the jobs, only the newest is a server."""

QUERIES = {"/jobs": "?all=true", "/jobs/{job}/log": "?attempt=1"}


@pytest.fixture
def lab(database) -> None:
    """A slot that runs a job with a log, one in quarantine; a failed job; one that waits, one is held."""
    with database.write() as session:
        for name in ("g0", "g1", "cpu0"):
            lifecycle.a_slot(session, name)
        running = lifecycle.a_running_attempt(session, lifecycle.a_job(session), session.get(Slot, "lab1.g0"))
        live_logs.append(session, running.id, 0, b"\x1b[31mERROR\x1b[0m <b>\n10%\r20%\n" * 50)
        session.get_one(Slot, "lab1.g1").service_state = ServiceState.QUARANTINED
        ended = lifecycle.a_job(session, JobState.FAILED)
        ended.failure = Failure(kind=FailureKind.FAULT, reason="the card died").model_dump(mode="json")
        tried = session.scalars(select(Attempt).where(Attempt.job_id == ended.id)).one()
        points = [[0, 40], [1, 45.5], [2, 44]]
        measure = {"min": 40, "mean": 43, "max": 45.5, "max_card": 2, "points": points}
        tried.telemetry = {"samples": 3, "sampling_seconds": 0.1, "measures": {"celsius": measure}}
        for index, (text, golden) in enumerate((("好的", "好的"), ("北京市", "北京"), ("free", None))):
            exact = None if golden is None else text == golden
            said = {"question": "?", "text": text, "golden": golden, "exact": exact}
            session.add(Answer(attempt_id=tried.id, repeat=0, index=index, batch=0, **said))
        session.add(Metric(attempt_id=tried.id, name="ttft", value=0.1, unit="s", definition="ttft/client", count=1))
        pipeline = Pipeline(name="p", project="default", created_at=lifecycle.now())
        session.add(pipeline)
        session.flush()
        waiting = lifecycle.a_job(session, batch_id=a_batch(session), pipeline_id=pipeline.id)
        waiting.demand = "card_group lab1.g0"
        a_model(session, "some-model")
        lifecycle.a_job(session, held=True, hold={"by": "eva", "note": None, "at": lifecycle.now().isoformat()})
        lifecycle.a_ready_server(session)


def page_routes(router: APIRouter) -> Iterator[APIRoute]:
    for route in router.routes:
        if isinstance(route, PageRoute | OpenPageRoute) and "GET" in (route.methods or ()):
            yield route
        elif isinstance(included := getattr(route, "original_router", None), APIRouter):
            yield from page_routes(included)


def addresses(app: FastAPI) -> Iterator[str]:
    for route in page_routes(app.router):
        if NOT_HERE.isdisjoint(field.name for field in route.dependant.path_params):
            yield address(route)
    yield from ("/jobs/2", "/jobs/3", "/jobs/3/log", "/jobs?q=nothing")


def address(route: APIRoute) -> str:
    names = [field.name for field in route.dependant.path_params]
    unknown = [name for name in names if name not in KNOWN]
    assert unknown == [], f"{route.path}: say in KNOWN what stands for {unknown}"
    known = {**KNOWN, "job": "5"} if route.path == SERVER else KNOWN
    return route.path.format(**known) + QUERIES.get(route.path, "")


def objections(page: Page) -> list[str]:
    """What axe says about the page that is shown."""
    session = page.context.new_cdp_session(page)
    session.send("Runtime.evaluate", {"expression": f"{AXE};0"})
    run = "axe.run(document, {resultTypes: ['violations']}).then(({violations}) => JSON.stringify("
    told = "violations.map(({id, nodes}) => `${id}: ${nodes[0].html.slice(0, 200)}`)))"
    answer = session.send("Runtime.evaluate", {"expression": run + told, "awaitPromise": True, "returnByValue": True})
    session.detach()
    return list(json.loads(answer["result"]["value"]))


def test_every_page_is_ours_alone_and_can_be_used_by_everybody(app, open_page, client: Client, settings, lab):
    here = f"http://127.0.0.1:{settings.api_port}"
    page = open_page(viewport={"width": 1440, "height": 900})
    page.goto(client.sign_ins.make().path)
    page.locator("#board").wait_for()
    # The others are parts that a page puts in place.
    whole = [path for path in addresses(app) if "<html" in page.request.get(path).text()]
    wrong = []

    for language, theme in VIEWS:
        cookies = {"language": language, "theme": theme}
        page.context.add_cookies([{"name": name, "value": value, "url": here} for name, value in cookies.items()])
        for path in whole:
            answer = page.goto(path)
            assert answer is not None
            if answer.status >= 400:
                wrong.append(f"{path}: {answer.status}")
            told_of = [] if path == SWAGGER else objections(page)
            wrong += [f"{path} ({language}, {theme}): {told}" for told in told_of]

    assert not wrong, "\n".join(wrong)
    assert {"/", "/jobs?all=true", "/jobs/1", "/jobs/1/log?attempt=1", "/sign-in"} <= set(whole)
