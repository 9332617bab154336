"""The routes of orders on a job, a pipeline and a batch: `POST /{thing}/{action}`, declared in one place."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastapi import APIRouter, Depends

from api.access import Actor
from api.documents.base import View
from orchestrator.model.orders import Action, NewPriority, Order, Reason

CarryOut = Callable[[Order], View]
"""Carries out an order for the thing named in the path, and returns the answer."""

_NO_REASON = Reason()


@dataclass(frozen=True)
class OrderRoute:
    """One order: the name of its operation, where `{}` is the thing, and its description."""

    action: Action
    name: str
    promise: str
    old_path: str | None = None
    """An old path of the action; deprecated."""


FOR_ONE = (
    OrderRoute(Action.CANCEL, "cancel", "Cancel a job; with If-Match, only if it has not changed."),
    OrderRoute(
        Action.STOP,
        "stop",
        "Stop a server gracefully: it has succeeded when its cards are free again. One that is not ready yet is\n"
        "cancelled; 409 for a job that is no server.",
    ),
    OrderRoute(
        Action.HOLD,
        "hold",
        "Hold a waiting or queued job: it is not placed until `unhold`; its queue deadline is suspended.",
    ),
    OrderRoute(Action.UNHOLD, "unhold", "Remove a hold."),
    OrderRoute(Action.UNHOLD, "release", "Old name of unhold.", old_path="release"),
    OrderRoute(Action.PRIORITY, "prioritise", "Change the priority of a job that has not started."),
    OrderRoute(Action.FRONT, "to_front", "Move a waiting or queued job to the front of its priority."),
)
"""The orders for one job."""

CANCEL_ALL = OrderRoute(Action.CANCEL, "cancel_{}", "Cancel every job that has not ended.")

FOR_ALL = (
    OrderRoute(Action.STOP, "stop_{}", "Stop every server that has not ended; other jobs are refused."),
    OrderRoute(
        Action.HOLD,
        "hold_{}",
        "Hold every job that is not placed yet; the response lists the others.",
    ),
    OrderRoute(Action.UNHOLD, "unhold_{}", "Remove the holds of all its jobs."),
    OrderRoute(Action.UNHOLD, "release_{}", "Old name of unhold.", old_path="release"),
    OrderRoute(Action.PRIORITY, "prioritise_{}", "Change the priority of every job that has not started."),
    OrderRoute(
        Action.FRONT,
        "{}_to_front",
        "Move every job that is not placed yet to the front of its priority; their order stays the same.",
    ),
)
"""The orders for all jobs of something that have not ended, except `CANCEL_ALL`."""


def declare(
    router: APIRouter, thing: str, answer: type[View], target: Callable[..., object], routes: Iterable[OrderRoute]
) -> None:
    """Add these routes for `thing`, the name of the path's parameter; each answers with `answer`.

    `target` is the dependency that reads the path, and headers if it needs any, and returns a `CarryOut`. The body is
    optional, except for the priority.
    """
    for route in routes:
        router.add_api_route(
            f"/{{{thing}}}/{route.old_path or route.action}", _endpoint(route.action, target), methods=["POST"],
            name=route.name.format(thing), description=route.promise, response_model=answer,
            deprecated=True if route.old_path else None,
        )  # fmt: skip


def _endpoint(action: Action, target: Callable[..., object]) -> Callable[..., View]:
    found = Depends(target)

    def prioritise(actor: Actor, body: NewPriority, carry_out: CarryOut = found) -> View:
        return carry_out(body.order(action, actor))

    def order(actor: Actor, body: Reason = _NO_REASON, carry_out: CarryOut = found) -> View:
        return carry_out(body.order(action, actor))

    return prioritise if action is Action.PRIORITY else order
