"""Lists of jobs that a person keeps: filters under a name, the same in all of their browsers."""

from typing import Annotated

from fastapi import APIRouter, Path

from api.access import Actor, GuardedRoute, needs
from api.context import Given
from api.documents.base import Page
from api.documents.jobs import JobListRequest, JobListView
from orchestrator.jobs import lists
from orchestrator.model.scopes import Scope

router = APIRouter(prefix="/job-lists", tags=["jobs"], route_class=GuardedRoute)

ListName = Annotated[str, Path(min_length=1, max_length=100, pattern=r"^[^\x00-\x1f/]+$")]

_OWN = needs(Scope.VIEWER)
"""What everybody may change of their own."""


@router.get("")
def list_job_lists(context: Given, actor: Actor) -> Page[JobListView]:
    """Those of the token that asks, by name."""
    with context.database.read() as session:
        return Page(items=tuple(JobListView.model_validate(row) for row in lists.lists(session, actor)))


@router.put("/{name}", openapi_extra=_OWN)
def keep_job_list(name: ListName, body: JobListRequest, context: Given, actor: Actor) -> JobListView:
    """Keep filters under a name, in place of those that it had. At most 50 are kept."""
    with context.database.write() as session:
        return JobListView.model_validate(lists.keep(session, actor, name, body.query, opens_first=body.opens_first))


@router.delete("/{name}", status_code=204, openapi_extra=_OWN)
def delete_job_list(name: ListName, context: Given, actor: Actor) -> None:
    """Delete a list."""
    with context.database.write() as session:
        lists.forget(session, actor, name)
