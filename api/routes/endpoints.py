"""Servers that accept requests now."""

from fastapi import APIRouter

from api.access import GuardedRoute
from api.context import Given
from api.documents.base import Page
from api.documents.endpoints import EndpointView, PaceView
from api.parameters import NameFilter
from api.proxy.fleet import Fleet
from orchestrator.jobs import endpoints

router = APIRouter(prefix="/endpoints", tags=["endpoints"], route_class=GuardedRoute)


@router.get("")
def list_endpoints(context: Given, model: NameFilter | None = None) -> Page[EndpointView]:
    """Every open endpoint, by job number. The endpoint of a server that is being stopped is not listed."""
    with context.database.read() as session:
        found = endpoints.open_endpoints(session, model)
        views = [EndpointView.model_validate(row) for row in found]
    return Page(items=tuple(_used(each, context.proxy.fleet) for each in views))


def _used(view: EndpointView, fleet: Fleet) -> EndpointView:
    pace = fleet.pace(view.attempt_id)
    told = None if pace is None else PaceView.model_validate(pace)
    return view.model_copy(update={"in_flight": fleet.in_flight(view.attempt_id), "pace": told})
