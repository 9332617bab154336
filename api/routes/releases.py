"""Toolchain releases: register, list, show; the result of their checks on each host."""

from fastapi import APIRouter

from api.access import Actor, GuardedRoute, needs
from api.context import Given
from api.documents.base import Page
from api.documents.releases import CheckView, ReleaseDetail, ReleaseView
from api.parameters import Retired, ThingName
from orchestrator.catalog import queries, release_checks
from orchestrator.catalog.registry import ReleaseRequest
from orchestrator.model.release_checks import Findings
from orchestrator.model.scopes import Scope

router = APIRouter(prefix="/releases", tags=["releases"], route_class=GuardedRoute)


@router.post("", status_code=201, openapi_extra=needs(Scope.ADMIN))
def register_release(body: ReleaseRequest, context: Given) -> ReleaseDetail:
    """Register the tools installed at a folder below an allowed root; the first one becomes the default."""
    return ReleaseDetail.model_validate(context.registry.register_release(body))


@router.get("")
def list_releases(context: Given, retired: Retired = False) -> Page[ReleaseView]:
    """The releases in use by name, or the retired ones."""
    with context.database.read() as session:
        return Page(items=tuple(ReleaseView.model_validate(row) for row in queries.releases(session, retired=retired)))


@router.get("/{release}")
def show_release(release: ThingName, context: Given) -> ReleaseDetail:
    """One release with its profile."""
    with context.database.read() as session:
        return ReleaseDetail.model_validate(queries.release(session, release))


@router.get("/{release}/checks")
def list_checks(release: ThingName, context: Given) -> Page[CheckView]:
    """The latest check of a release on each host."""
    with context.database.read() as session:
        return Page(items=tuple(CheckView.model_validate(row) for row in release_checks.checks(session, release)))


@router.put("/{release}/checks/{host}", openapi_extra=needs(Scope.OPERATOR))
def keep_check(release: ThingName, host: ThingName, body: Findings, context: Given, actor: Actor) -> CheckView:
    """Store the result of a check on a host; it replaces the earlier result of that host."""
    with context.database.write() as session:
        context.database.serialise(session, "registry")
        now = context.database.now(session)
        return CheckView.model_validate(
            release_checks.replace(session, release, host, body, by=actor, now=now), from_attributes=True
        )
