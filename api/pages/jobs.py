"""The list of jobs: filters in its address, lists that a person keeps, and orders for marked jobs or all that fit."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal
from urllib.parse import parse_qsl, urlencode

from fastapi import Depends, Query, Request, Response
from fastapi.responses import RedirectResponse
from pydantic import Field, TypeAdapter, ValidationError

from api.access import Actor
from api.context import Context, Given
from api.documents.jobs import JobListRequest
from api.pages.guard import Fields, checked, one, pages
from api.pages.outcomes import outcome
from api.pages.rendering import render
from api.pages.viewer import viewer_of
from api.parameters import ChosenJobs, Cursor, FreeText, Moment, NameFilter
from api.routes import job_lists, jobs, models, projects, releases
from orchestrator.errors import BadRequest, OrchestratorError
from orchestrator.jobs.orders import as_filter
from orchestrator.jobs.queries import JobFilter
from orchestrator.model.failures import FailureKind
from orchestrator.model.orders import LARGEST_NUMBER, Action, BulkOrder, Chosen
from orchestrator.model.specs import PRODUCES, Strict
from orchestrator.model.states import FINAL, JobState

router = pages()

ROWS = 100
MOST_RETRIED = 100
"""Jobs retried by one order: each is a submission of its own."""

MOST_NAMES = 200
"""Names of projects, models and releases that are offered for a filter."""

_ABOUT_THE_PAGE = frozenset({"cursor", "all"})
"""What an address has beside filters."""

_TODAY = "today"
"""As a time: when the viewer's day began. A list that is kept says the same every day."""

_MOMENT: TypeAdapter[datetime] = TypeAdapter(Moment)


class RetryOrder(Strict):
    """Jobs to submit again."""

    jobs: tuple[Annotated[int, Field(ge=1, le=LARGEST_NUMBER)], ...] = Field(min_length=1, max_length=MOST_RETRIED)


def _listed(
    request: Request,
    chosen: ChosenJobs,
    release: NameFilter | None = None,
    since: Annotated[FreeText | None, Query()] = None,
    until: Annotated[FreeText | None, Query()] = None,
    failure: FailureKind | None = None,
    failed: Literal["today"] | None = None,
) -> JobFilter:
    """The filters of the REST route; a time may also be one of the viewer's zone, as browsers write it, or `today`."""
    of_time = {"since": _moment(request, "since", since), "until": _moment(request, "until", until)}
    if failed is not None:
        of_time["failed_after"] = viewer_of(request).midnight
    return JobFilter(**{**vars(chosen), "release": release, "failure": failure, **of_time})


Listed = Annotated[JobFilter, Depends(_listed)]


def _moment(request: Request, field: str, said: str | None) -> datetime | None:
    """A time with a zone as it is; without one, in the viewer's zone; of a day as `until`, its end."""
    if said == _TODAY:
        return viewer_of(request).midnight
    try:
        local = datetime.fromisoformat(said) if said else None
        if local is not None and local.tzinfo is None:
            local += timedelta(days=1 if field == "until" and len(said or "") == len("2026-03-01") else 0)
            return local.replace(tzinfo=viewer_of(request).zone or UTC)
        return None if said is None else _MOMENT.validate_python(said)
    except (ValidationError, ValueError, OverflowError):
        raise BadRequest("must be a time: write it like 2026-03-01T14:00", field=field) from None


@router.get("/jobs")
def list_jobs(
    context: Given, request: Request, actor: Actor, chosen: Listed, cursor: Cursor | None = None, all: bool = False
) -> Response:
    """Jobs, newest first, filtered by the address; without any filter, as the list that the viewer opens first."""
    kept = job_lists.list_job_lists(context, actor).items
    first = next((each for each in kept if each.opens_first), None)
    if first is not None and not request.query_params:
        return RedirectResponse(f"/jobs?{first.query}", 303)
    found = jobs.list_jobs(context, chosen, limit=ROWS, cursor=cursor)
    pairs = [pair for pair in request.query_params.multi_items() if pair[0] not in _ABOUT_THE_PAGE]
    query = urlencode(pairs)
    values: dict[str, Any] = {
        "jobs": found.items,
        "asked": dict(pairs),
        "asked_states": [value for name, value in pairs if name == "state"],
        "query": query,
        "api_query": _api_query(pairs, chosen),
        "kept": kept,
        "older": found.next and f"/jobs?{urlencode([*pairs, ('cursor', found.next)])}",
        "newest": cursor and (f"/jobs?{query}" if query else "/jobs?all=true"),
    }
    if "hx-request" in request.headers:
        return render(request, "jobs_live.html", **values)
    return render(request, "jobs.html", **values, **_offered(context))


@router.get("/jobs/matching", openapi_extra={"x-scope": "submitter"})
def count_matching(context: Given, request: Request, chosen: Listed) -> Response:
    """How many jobs fit the filters, and for each order how many it would change; to confirm."""
    counted = jobs.count_jobs(context, chosen)
    query = urlencode(request.query_params.multi_items())
    return render(request, "jobs_matching.html", counted=counted, query=query, most_retried=MOST_RETRIED)


@router.post("/jobs/orders", openapi_extra={"x-scope": "submitter"})
def order_jobs(context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """One action on the jobs that are marked, or on all that fit the filters of an address."""
    action, numbers, note = one(fields, "action"), fields.get("job", []), one(fields, "note")
    matching = _chosen(request, one(fields, "matching") or "") if "matching" in fields else None
    if not numbers and matching is None:
        raise BadRequest("mark at least one job", field="job")
    if action == "retry":
        return render(request, "ordered_jobs.html", **_retried(context, numbers, matching, actor))
    given = {"priority": one(fields, "priority")} if action == Action.PRIORITY else {}
    whom = {"jobs": numbers} if matching is None else {"filter": matching}
    report = jobs.order_many(checked(BulkOrder, action=action, **whom, note=note, **given), context, actor)
    return outcome(request, report)


@router.post("/jobs/lists", openapi_extra={"x-scope": "viewer"})
def keep_list(context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """Keep the filters of the address under a name."""
    name = (one(fields, "name") or "").strip()
    body = checked(JobListRequest, query=one(fields, "query") or "", opens_first="opens_first" in fields)
    if not name or len(name) > 100 or "/" in name or not name.isprintable():
        raise BadRequest("give a name of at most 100 characters, without /", field="name")
    if body.query:
        _chosen(request, body.query)
    kept = job_lists.keep_job_list(name, body, context, actor)
    return Response(status_code=204, headers={"HX-Redirect": f"/jobs?{kept.query or 'all=true'}"})


@router.post("/jobs/lists/forget", openapi_extra={"x-scope": "viewer"})
def forget_list(context: Given, actor: Actor, fields: Fields) -> Response:
    """Delete a list that is kept."""
    job_lists.delete_job_list(one(fields, "name") or "", context, actor)
    return Response(status_code=204, headers={"HX-Redirect": "/jobs?all=true"})


def _api_query(pairs: Sequence[tuple[str, str]], chosen: JobFilter) -> str:
    """The same filters for the REST route, which takes times with their zone alone."""
    times = {name: getattr(chosen, name) for name in ("since", "until", "failed_after")}
    others = [(name, value) for name, value in pairs if name not in times and name != "failed"]
    return urlencode([*others, *((name, at.isoformat()) for name, at in times.items() if at is not None)])


def _offered(context: Context) -> Mapping[str, Any]:
    """What there is to filter by."""
    return {
        "kinds": sorted({*PRODUCES, "provision"}),
        "states": [str(state) for state in JobState],
        "failures": [str(kind) for kind in FailureKind],
        "projects": [each.name for each in projects.list_projects(context).items][:MOST_NAMES],
        "models": [each.name for each in models.list_models(context).items][:MOST_NAMES],
        "releases": [each.name for each in releases.list_releases(context).items][:MOST_NAMES],
    }


def _chosen(request: Request, query: str) -> Chosen:
    """The filter that the query of an address names; refused if it is none, or says nothing."""
    fields: dict[str, Any] = {}
    states = []
    for name, value in parse_qsl(query):
        if name == "state":
            states.append(value)
        elif name in ("since", "until"):
            fields[name] = _moment(request, name, value)
        elif (name, value) == ("failed", _TODAY):
            fields["failed_after"] = viewer_of(request).midnight
        else:
            fields[name] = value
    return checked(Chosen, states=states, **fields)


def _retried(context: Context, numbers: list[str], matching: Chosen | None, by: str) -> Mapping[str, Any]:
    left = 0
    if matching is None:
        if len(numbers) > MOST_RETRIED:
            raise BadRequest(f"more than {MOST_RETRIED} jobs: retry fewer at once", field="job")
        chosen = checked(RetryOrder, jobs=numbers).jobs
    else:
        chosen, left = _ended(context, as_filter(matching))
    made: list[int] = []
    refused: list[tuple[int, str]] = []
    for number in chosen:
        try:
            made += context.submission.retry(number, by=by).jobs
        except OrchestratorError as error:
            refused.append((number, error.detail))
    return {"done": len(made), "refused": refused, "made": made, "left": left}


def _ended(context: Context, chosen: JobFilter) -> tuple[tuple[int, ...], int]:
    """The newest jobs that fit and have ended, and how many more there are."""
    states = [state for state in FINAL if not chosen.states or state in chosen.states]
    if not states:
        return (), 0
    counted = jobs.count_jobs(context, chosen).ended
    ended = JobFilter(**{**vars(chosen), "states": states})
    found = jobs.list_jobs(context, ended, limit=MOST_RETRIED).items
    return tuple(job.id for job in found), counted - len(found)
