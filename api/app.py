"""The application: routes, errors and the thread that wakes event streams, put together."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

from fastapi import APIRouter, FastAPI

from api.access import documented_scheme
from api.context import Context
from api.documents.base import Problem
from api.http import problems, rendering
from api.http.methods import HeadAsGet
from api.pages import api_docs, board, catalog, files, servers, sign_in, submit
from api.pages import batches as batch_pages
from api.pages import cases as case_pages
from api.pages import comparisons as comparison_pages
from api.pages import job as job_page
from api.pages import jobs as job_pages
from api.pages import logs as log_pages
from api.pages import pipelines as pipeline_pages
from api.pages import projects as project_pages
from api.pages import series as series_pages
from api.pages import slots as slot_pages
from api.pages import suites as suite_pages
from api.pages import timeline as timeline_pages
from api.pages import tokens as token_pages
from api.proxy.relay import Proxy
from api.routes import (
    ab,
    artifacts,
    baselines,
    batches,
    bundles,
    canaries,
    cases,
    comparisons,
    doubts,
    endpoints,
    events,
    health,
    history,
    hosts,
    job_lists,
    jobs,
    logs,
    models,
    notifications,
    openai,
    pipelines,
    projects,
    queue,
    releases,
    reservations,
    results,
    retirements,
    schedules,
    sign_ins,
    slots,
    suites,
    timeline,
    tokens,
    triages,
    uploads,
    whoami,
)
from api.streams.wakeups import WakeUps
from orchestrator.batches.submit import BatchSubmission
from orchestrator.catalog.file_imports import FileImports
from orchestrator.catalog.golden_imports import GoldenImports
from orchestrator.catalog.kcore_imports import KcoreImports
from orchestrator.catalog.registry import Registry
from orchestrator.catalog.uploads import Uploads
from orchestrator.handover.bundle import Bundles
from orchestrator.settings import Settings
from orchestrator.slots.canaries import Canaries
from orchestrator.slots.provisioning import Provisioning
from orchestrator.storage.artifacts import ArtifactStore
from orchestrator.storage.database import Database
from orchestrator.submission.submit import Submission
from orchestrator.suites.definitions import Definitions
from orchestrator.suites.runs import SuiteRuns
from orchestrator.suites.side_by_side import AbRuns
from orchestrator.suites.triage import Triages

ROOT = "/api/v1"

_ABOUT = """Jobs on TX81 card groups. Every error is a problem document (RFC 9457).

HEAD is answered wherever GET is, with the status and headers of GET and no content; a stream of events ends after its
headers. 405 names the methods of the path in `Allow`."""


def _problem_schema() -> dict[str, Any]:
    """Whole in itself: what stands outside the components of the document cannot point into them."""
    schema = Problem.model_json_schema()
    schema["properties"]["errors"]["items"] = schema.pop("$defs")["FieldError"]
    return schema


_PROBLEM = {"application/problem+json": {"schema": _problem_schema()}}
_REFUSALS: dict[int | str, dict[str, Any]] = {
    "4XX": {"description": "Refused; `code` says why and `field` where.", "content": _PROBLEM},
    "5XX": {"description": "The server failed; see its log for `incident`.", "content": _PROBLEM},
    422: {"description": "Refused: the request can never be accepted as written.", "content": _PROBLEM},
}


def create_app(settings: Settings, database: Database | None = None, store: ArtifactStore | None = None) -> FastAPI:
    """An application on this database and store, or on those that the settings name."""
    database = database or Database(settings.database)
    store = store or ArtifactStore(settings.store)
    submission = Submission(settings, database, store)
    wakeups = WakeUps(database)
    context = Context(
        settings=settings,
        database=database,
        store=store,
        submission=submission,
        batches=BatchSubmission(settings, database, store),
        registry=Registry(settings, database),
        canaries=Canaries(settings, database, store, submission),
        files=FileImports(settings, database, store),
        kcores=KcoreImports(settings, database, store),
        goldens=GoldenImports(settings, database, store),
        provisioning=Provisioning(settings, database, submission),
        suites=Definitions(settings, database, store),
        suite_runs=SuiteRuns(settings, database, store),
        ab_runs=AbRuns(settings, database, store),
        uploads=Uploads(settings),
        bundles=Bundles(settings, database, store),
        triages=Triages(settings, database, store),
        wakeups=wakeups,
        proxy=Proxy(settings, database, wakeups),
    )
    # The usual documentation pages load scripts from elsewhere, which a lab's network does not have.
    app = _application(lifespan=_lifespan)
    app.openapi = _document  # type: ignore[method-assign]
    app.state.context = context
    problems.install(app)
    rendering.install()
    app.add_middleware(HeadAsGet)
    return app


def _application(**more: Any) -> FastAPI:
    return FastAPI(
        title="TX81 orchestrator", version="1", description=_ABOUT, docs_url=None, redoc_url=None,
        routes=_routes().routes, **more,
    )  # fmt: skip


@cache
def _document() -> dict[str, Any]:
    """The OpenAPI document, which takes more than a second to make; applications of one process share it, as they do
    their routes."""
    return _application().openapi()


@cache
def _routes() -> APIRouter:
    """All routes. They hold nothing of an application, so those of one process share them: FastAPI analyses the
    parameters of each when the first request is matched, which takes longer than most requests."""
    router = APIRouter()
    # Routes are tried in their order, and this is where every millisecond is waited for.
    router.include_router(openai.router, dependencies=[documented_scheme], responses=openai.REFUSED)
    router.include_router(health.router)
    router.include_router(_guarded(), prefix=ROOT)
    # The orders of slots come before the board, whose own ones take any word.
    of_people = (
        slot_pages, board, job_pages, job_page, log_pages, batch_pages, pipeline_pages, timeline_pages, suite_pages,
        series_pages, case_pages, comparison_pages, submit, servers, catalog, project_pages, token_pages, api_docs,
    )  # fmt: skip
    for pages in (files.router, sign_in.router, sign_in.inside, *(each.router for each in of_people)):
        router.include_router(pages)
    return router


def _guarded() -> APIRouter:
    router = APIRouter(dependencies=[documented_scheme], responses=_REFUSALS)
    for resource in (
        jobs,
        job_lists,
        bundles,
        triages,
        logs,
        pipelines,
        batches,
        suites,
        ab,
        schedules,
        baselines,
        cases,
        history,
        artifacts,
        uploads,
        models,
        releases,
        hosts,
        slots,
        canaries,
        doubts,
        endpoints,
        reservations,
        projects,
        queue,
        timeline,
        results,
        comparisons,
        tokens,
        sign_ins,
        whoami,
        notifications,
        retirements,
        events,
    ):
        router.include_router(resource.router)
    return router


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: Context = app.state.context
    context.wakeups.start()
    try:
        async with context.proxy.open():
            yield
    finally:
        context.wakeups.stop()
        context.wakeups.join()
