"""Servers that accept requests now."""

from fastapi import APIRouter

from api.access import GuardedRoute
from api.context import Given
from api.documents.base import Page
from api.documents.endpoints import EndpointView
from api.parameters import NameFilter
from orchestrator.jobs import endpoints

router = APIRouter(prefix="/endpoints", tags=["endpoints"], route_class=GuardedRoute)


@router.get("")
def list_endpoints(context: Given, model: NameFilter | None = None) -> Page[EndpointView]:
    """Every open endpoint, by job number. The endpoint of a server that is being stopped is not listed."""
    with context.database.read() as session:
        found = endpoints.open_endpoints(session, model)
        views = [EndpointView.model_validate(row) for row in found]
    under_way = context.proxy.fleet.in_flight
    return Page(items=tuple(each.model_copy(update={"in_flight": under_way(each.attempt_id)}) for each in views))
