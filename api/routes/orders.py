"""The routes of orders on a job, a pipeline and a batch: `POST /{thing}/{action}`, declared in one way."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from fastapi import APIRouter, Depends

from api.access import Actor
from api.documents.base import View
from orchestrator.model.orders import Action, NewPriority, Order, Reason

CarryOut = Callable[[Order], View]
"""Carries an order out for the thing that the path names, and answers what the caller is shown."""

_NO_REASON = Reason()


@dataclass(frozen=True)
class OrderRoute:
    """One order: the name of its operation, where `{}` is the thing, and what it promises."""

    action: Action
    name: str
    promise: str
    old_path: str | None = None
    """An address from before the action had its name; deprecated."""


FOR_ONE = (
    OrderRoute(Action.CANCEL, "cancel", "Ask for a job to stop; with If-Match, only if it is still as it was seen."),
    OrderRoute(
        Action.STOP,
        "stop",
        "Stop a server gracefully: it has succeeded when its cards are free again. One that is not ready yet is\n"
        "cancelled; 409 for a job that is no server.",
    ),
    OrderRoute(
        Action.HOLD,
        "hold",
        "Keep a waiting or queued job from being placed until the hold is undone; its queue deadline stands still.",
    ),
    OrderRoute(Action.UNHOLD, "unhold", "Remove a hold."),
    OrderRoute(Action.UNHOLD, "release", "Old name of unhold.", old_path="release"),
    OrderRoute(Action.PRIORITY, "prioritise", "Give a job that has not begun another priority."),
    OrderRoute(Action.FRONT, "to_front", "Move a waiting or queued job before all others of its priority."),
)
"""The orders for one job."""

CANCEL_ALL = OrderRoute(Action.CANCEL, "cancel_{}", "Ask for every job that has not ended to stop.")

FOR_ALL = (
    OrderRoute(Action.STOP, "stop_{}", "Stop every server that has not ended; the answer refuses all other jobs."),
    OrderRoute(
        Action.HOLD,
        "hold_{}",
        "Keep every job that is not placed yet from being placed; the answer says which go on.",
    ),
    OrderRoute(Action.UNHOLD, "unhold_{}", "Remove the holds of all its jobs."),
    OrderRoute(Action.UNHOLD, "release_{}", "Old name of unhold.", old_path="release"),
    OrderRoute(Action.PRIORITY, "prioritise_{}", "Give every job that has not begun another priority."),
    OrderRoute(
        Action.FRONT,
        "{}_to_front",
        "Move every job that is not placed yet before all others of its priority, in the order they have.",
    ),
)
"""The orders for all jobs of something that have not ended, but for `CANCEL_ALL`."""


def declare(
    router: APIRouter, thing: str, answer: type[View], target: Callable[..., object], routes: Iterable[OrderRoute]
) -> None:
    """Add these routes for `thing`, the name of the path's parameter; each answers with `answer`.

    `target` is the dependency that reads the path, and headers if it wants any, and returns a `CarryOut`. The body is
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
