"""Toolchain releases: register, list, show."""

from fastapi import APIRouter

from api.access import GuardedRoute, needs
from api.context import Given
from api.parameters import ThingName
from api.schemas import Page, ReleaseDetail, ReleaseView
from orchestrator import inventory
from orchestrator.model.scopes import Scope
from orchestrator.registry import ReleaseRequest

router = APIRouter(prefix="/releases", tags=["releases"], route_class=GuardedRoute)


@router.post("", status_code=201, openapi_extra=needs(Scope.ADMIN))
def register_release(body: ReleaseRequest, context: Given) -> ReleaseDetail:
    """Register the tools installed at a folder below an allowed root; the first one becomes the default."""
    return ReleaseDetail.model_validate(context.registry.register_release(body))


@router.get("")
def list_releases(context: Given) -> Page[ReleaseView]:
    """All releases by name."""
    with context.database.read() as session:
        return Page(items=tuple(ReleaseView.model_validate(row) for row in inventory.releases(session)))


@router.get("/{release}")
def show_release(release: ThingName, context: Given) -> ReleaseDetail:
    """One release with its profile."""
    with context.database.read() as session:
        return ReleaseDetail.model_validate(inventory.release(session, release))
