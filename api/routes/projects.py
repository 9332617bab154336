"""Projects: the slot time that each has used, and its weight."""

from fastapi import APIRouter

from api.access import GuardedRoute, needs
from api.context import Given
from api.documents.base import Page
from api.documents.projects import ProjectView, WeightRequest
from api.parameters import ThingName
from orchestrator.jobs import shares
from orchestrator.model.scopes import Scope
from orchestrator.model.shares import Share
from orchestrator.storage import events

router = APIRouter(prefix="/projects", tags=["projects"], route_class=GuardedRoute)


@router.get("")
def list_projects(context: Given) -> Page[ProjectView]:
    """All projects by name."""
    with context.database.read() as session:
        found = shares.all_shares(session, context.database.now(session))
    return Page(items=tuple(_view(name, share) for name, share in sorted(found.items())))


@router.put("/{project}", openapi_extra=needs(Scope.OPERATOR))
def set_weight(project: ThingName, body: WeightRequest, context: Given) -> ProjectView:
    """Set the weight of a project (default 1); the project may have had no job yet."""
    with context.database.admission() as (session, now):
        row = shares.set_weight(session, project, body.weight, now=now)
        events.record(session, "project.weight_set", now, project=row.name, weight=row.weight)
        return _view(row.name, shares.all_shares(session, now)[row.name])


def _view(name: str, share: Share) -> ProjectView:
    return ProjectView(name=name, weight=share.weight, used_slot_seconds=share.used, standing=share.standing)
