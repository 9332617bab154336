"""Servers: where each answers and how fast, a conversation with one, and stopping it."""

import json
import shlex
from typing import Any

from fastapi import Request, Response

from api.access import Actor
from api.context import Context, Given
from api.documents.endpoints import EndpointView
from api.documents.jobs import JobDetail
from api.pages.guard import Fields, checked, one, pages
from api.pages.outcomes import outcome
from api.pages.rendering import render_live
from api.parameters import NameFilter, Number
from api.routes import endpoints, jobs
from orchestrator.errors import NotFound
from orchestrator.jobs.queries import JobFilter
from orchestrator.model.orders import Action, BulkOrder
from orchestrator.model.states import FINAL, JobState

router = pages()

ROWS = 100
_UNFINISHED = tuple(state for state in JobState if state not in FINAL)


@router.get("/servers")
def list_servers(context: Given, request: Request, model: NameFilter | None = None) -> Response:
    """Every server that has not ended, with its address and pace once it is ready."""
    open_now = {each.job_id: each for each in endpoints.list_endpoints(context, model).items}
    chosen = JobFilter(kind="serve", states=_UNFINISHED, model=model)
    values: dict[str, Any] = {
        "servers": [(job, open_now.get(job.id)) for job in jobs.list_jobs(context, chosen, limit=ROWS).items],
        "model": model,
    }
    return render_live(request, "servers", **values)


@router.get("/servers/{job}")
def show_server(job: Number, context: Given, request: Request) -> Response:
    """One server; a model with several of them is asked where there is most room."""
    detail = jobs.show(job, context, Response())
    assert isinstance(detail, JobDetail)  # without If-None-Match it is never 304
    if detail.kind != "serve":
        raise NotFound(f"job {job} is no server; see its own page: /jobs/{job}")
    base = f"{str(request.base_url).rstrip('/')}/v1"
    values: dict[str, Any] = {
        "job": detail,
        "endpoint": _endpoint(context, detail),
        "base": base,
        "curl": curl_of(base, detail.model or ""),
    }
    return render_live(request, "server", **values)


@router.post("/servers/{job}/stop", openapi_extra={"x-scope": "submitter"})
def stop_server(job: Number, context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """Stop a server gracefully."""
    order = checked(BulkOrder, action=Action.STOP, jobs=[job], note=one(fields, "note"))
    report = jobs.order_many(order, context, actor)
    return outcome(request, report)


def curl_of(base: str, model: str) -> str:
    """The same question by curl."""
    asked = {"model": model, "messages": [{"role": "user", "content": "你是谁？"}], "stream": True}
    return "\n".join(
        (
            f"curl -N {base}/chat/completions \\",
            '  -H "Authorization: Bearer $TX81_TOKEN" -H "Content-Type: application/json" \\',
            f"  -d {shlex.quote(json.dumps(asked, ensure_ascii=False))}",
        )
    )


def _endpoint(context: Context, job: JobDetail) -> EndpointView | None:
    found = endpoints.list_endpoints(context, job.model).items
    return next((each for each in found if each.job_id == job.id), None)
