"""Canaries: jobs that check the cards of quarantined slots, one for each release."""

from fastapi import APIRouter

from api.access import Actor, GuardedRoute, needs
from api.context import Given
from api.documents.base import Page
from api.documents.canaries import CanaryView
from api.parameters import ThingName
from orchestrator.model.scopes import Scope
from orchestrator.model.specs import CanarySpec
from orchestrator.slots import canaries

router = APIRouter(prefix="/canaries", tags=["canaries"], route_class=GuardedRoute)


@router.get("")
def list_canaries(context: Given) -> Page[CanaryView]:
    """All canaries by release."""
    with context.database.read() as session:
        return Page(items=tuple(CanaryView.model_validate(row) for row in canaries.canaries(session)))


@router.get("/{release}")
def show_canary(release: ThingName, context: Given) -> CanaryView:
    """The canary of one release."""
    with context.database.read() as session:
        return CanaryView.model_validate(canaries.canary(session, release))


@router.put("/{release}", openapi_extra=needs(Scope.OPERATOR))
def set_canary(release: ThingName, body: CanarySpec, context: Given, actor: Actor) -> CanaryView:
    """Set the canary of a release. Its inputs must exist; each is stored by its digest."""
    return CanaryView.model_validate(context.canaries.register(release, body, by=actor))
