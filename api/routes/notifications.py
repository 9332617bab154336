"""Notifications: who gets messages about changes of state, and the deliveries."""

from fastapi import APIRouter

from api.access import Actor, GuardedRoute, needs
from api.context import Given
from api.documents.base import Page
from api.documents.notifications import DeliveryView, NewTarget, TargetView
from api.parameters import Cursor, Limit, Number, ThingName, first_position, number_of, page
from orchestrator.model.notifications import TargetRequest, masked
from orchestrator.model.scopes import Scope
from orchestrator.storage.tables import NotificationTarget
from orchestrator.suites import notifications

router = APIRouter(prefix="/notifications", tags=["notifications"], route_class=GuardedRoute)

_ADMIN, _OPERATOR = needs(Scope.ADMIN), needs(Scope.OPERATOR)


@router.post("", status_code=201, openapi_extra=_ADMIN)
def add_target(body: TargetRequest, context: Given, actor: Actor) -> NewTarget:
    """Add a target. Only this response contains the secret of its signatures: store it."""
    row, secret = notifications.add_target(context.database, context.settings, body, by=actor)
    return NewTarget(**_view(row).model_dump(), secret=secret)


@router.get("")
def list_targets(context: Given) -> Page[TargetView]:
    """All targets by name, without their secrets."""
    with context.database.read() as session:
        return Page(items=tuple(map(_view, notifications.targets(session))))


@router.delete("/{target}", status_code=204, openapi_extra=_ADMIN)
def remove_target(target: ThingName, context: Given, actor: Actor) -> None:
    """Remove a target and the log of its messages."""
    notifications.remove_target(context.database, target, by=actor)


@router.post("/{target}/test", status_code=201, openapi_extra=_OPERATOR)
def test_target(target: ThingName, context: Given, actor: Actor) -> DeliveryView:
    """Send a test message; the dispatcher sends it at once."""
    return DeliveryView.model_validate(notifications.test(context.database, target, by=actor))


@router.get("/{target}/deliveries")
def list_deliveries(
    target: ThingName, context: Given, limit: Limit = 100, cursor: Cursor | None = None
) -> Page[DeliveryView]:
    """The messages of a target, newest first: what was sent, how often it was tried, and the latest outcome."""
    before = first_position(cursor)
    with context.database.read() as session:
        found = notifications.deliveries(session, target, limit=limit + 1, before=before)
        views = [DeliveryView.model_validate(row) for row in found]
    return page(views, limit, number_of)


@router.post("/{target}/deliveries/{delivery}/resend", openapi_extra=_OPERATOR)
def resend_delivery(target: ThingName, delivery: Number, context: Given) -> DeliveryView:
    """Send a message again, with the same `webhook-id`."""
    return DeliveryView.model_validate(notifications.resend(context.database, target, delivery))


def _view(row: NotificationTarget) -> TargetView:
    return TargetView(
        name=row.name, kind=row.kind, url=masked(row.kind, row.url), created_by=row.created_by,
        created_at=row.created_at,
    )  # fmt: skip
