"""What the lists of batches and of pipelines have in common: filters in the address, and orders for all their jobs."""

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlencode

from fastapi import Request, Response

from api.documents.jobs import OrderReport
from api.pages.guard import checked, one
from api.pages.outcomes import outcome
from orchestrator.model.orders import Action, NewPriority, Order, Reason

ROWS = 50

ORDERS = (Action.CANCEL, Action.HOLD, Action.UNHOLD, Action.FRONT, Action.PRIORITY, Action.STOP)


def listing(request: Request, path: str, following: str | None) -> dict[str, Any]:
    """What a template of a list needs beside its rows: the filters, and the addresses of the pages around."""
    asked = [(name, value) for name, value in request.query_params.multi_items() if name != "cursor"]
    return {
        "asked": dict(asked),
        "older": _address(path, [*asked, ("cursor", following)]) if following else None,
        "newest": _address(path, asked) if "cursor" in request.query_params else None,
    }


def ordered(
    request: Request, fields: Mapping[str, list[str]], actor: str, carry_out: Callable[[Order], OrderReport]
) -> Response:
    """The outcome of the order of a form, for all jobs of a batch or a pipeline that have not ended."""
    given = dict(fields)
    action = checked(_Chosen, action=one(given, "action")).action
    note = one(given, "note")
    if action is Action.PRIORITY:
        order = checked(NewPriority, priority=one(given, "priority"), note=note).order(action, actor)
    else:
        order = checked(Reason, note=note).order(action, actor)
    return outcome(request, carry_out(order))


class _Chosen(Reason):
    """The action that a form names."""

    action: Action


def _address(path: str, asked: list[tuple[str, str]]) -> str:
    return f"{path}?{urlencode(asked)}" if asked else path
