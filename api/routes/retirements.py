"""What is retired: hidden from lists and refused for new jobs, until it is un-retired."""

from fastapi import APIRouter

from api.access import Actor, GuardedRoute, needs
from api.context import Given
from api.documents.base import Page
from api.documents.retirements import RetirementView
from orchestrator.catalog import retirement
from orchestrator.model.retirements import Retiree, RetireRequest
from orchestrator.model.scopes import Scope

router = APIRouter(prefix="/retirements", tags=["retirements"], route_class=GuardedRoute)


@router.get("")
def list_retirements(context: Given) -> Page[RetirementView]:
    """All that is retired, by kind and name."""
    with context.database.read() as session:
        return Page(items=tuple(RetirementView.model_validate(row) for row in retirement.retirements(session)))


@router.post("", openapi_extra=needs(Scope.OPERATOR))
def retire(body: RetireRequest, context: Given, actor: Actor) -> RetirementView:
    """Retire a model, a release, a host whose workers are stopped, or an artifact. Jobs that exist are not changed."""
    with context.database.admission() as (session, now):
        made = retirement.retire(session, body, by=actor, now=now, lost_after=context.settings.lease)
        return RetirementView.model_validate(made)


@router.post("/lift", openapi_extra=needs(Scope.OPERATOR))
def unretire(body: Retiree, context: Given, actor: Actor) -> RetirementView:
    """Use a retired thing again."""
    with context.database.admission() as (session, now):
        return RetirementView.model_validate(retirement.unretire(session, body, by=actor, now=now))
