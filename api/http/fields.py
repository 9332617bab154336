"""Where in the client's document a validation error is, and which of many errors are worth telling. Pure.

Pydantic's own places name the members of unions (`spec.infer.kcore.JobOutput.artifact`) and list what is wrong with
every member; a client wants `spec.kcore.artifact`, seen from the member that it most likely meant.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from api.documents.base import FieldError
from orchestrator.model.specs import NAME_PATTERN

MOST_ERRORS = 50
"""A hostile body can have a million wrong fields; nobody reads more than the first few."""

_Place = tuple[str | int, ...]
_SAID_BETTER = {
    "extra_forbidden": "unknown field",
    f"String should match pattern '{NAME_PATTERN}'": (
        "a name is 1 to 100 of A-Z a-z 0-9 . _ - and begins with a letter or a digit"
    ),
}
"""What a client is told instead of Pydantic's words, by type or by message."""
_NO_BODY = {"missing", "model_attributes_type", "model_type"}


@dataclass(frozen=True)
class _Found:
    place: _Place
    branches: tuple[tuple[_Place, str | int], ...]
    """The union members on the way: the place of the union, and which member."""
    error: FieldError


def field_errors(errors: Sequence[Mapping[str, Any]], body: Any) -> list[FieldError]:
    """The errors of the union members that fit best, without what a client did not write."""
    found = [_found(error, body) for error in errors[: MOST_ERRORS * 10]]
    weights = Counter(branch for entry in found for branch in entry.branches)
    best: dict[_Place, tuple[_Place, str | int]] = {}
    for branch in weights:
        known = best.setdefault(branch[0], branch)
        if weights[branch] < weights[known]:
            best[branch[0]] = branch
    likely = [entry.error for entry in found if all(best[place] == (place, name) for place, name in entry.branches)]
    # One at a field that a validator filled in looks like a union's member; whatever happens, something is told.
    return list(dict.fromkeys(likely or [entry.error for entry in found]))[:MOST_ERRORS]


def _found(error: Mapping[str, Any], body: Any) -> _Found:
    where, *path = error["loc"]
    message = str(error["msg"]).removeprefix("Value error, ")
    message = _SAID_BETTER.get(error["type"]) or _SAID_BETTER.get(message, message)
    if error["type"] == "json_invalid":
        return _Found((), (), _field_error((), f"the body is not JSON: {error['ctx']['error']} at character {path[0]}"))
    if where == "body" and not path and error["type"] in _NO_BODY:
        return _Found((), (), _field_error((), "send a JSON object, with Content-Type: application/json"))
    if where != "body":
        return _Found(tuple(path), (), _field_error(tuple(path), message))
    place: _Place = ()
    branches: list[tuple[_Place, str | int]] = []
    for number, part in enumerate(path, start=1):
        absent = number == len(path) and error["type"] == "missing"
        if _holds(body, part) or absent:
            place, body = (*place, part), None if absent else body[part]
        else:
            branches.append((place, part))
    return _Found(place, tuple(branches), _field_error(place, message))


def _holds(document: Any, part: str | int) -> bool:
    if isinstance(document, dict):
        return part in document
    return isinstance(document, list) and isinstance(part, int) and part < len(document)


def _field_error(place: _Place, message: str) -> FieldError:
    return FieldError(field=printable(".".join(str(part) for part in place)), message=printable(message))


def printable(text: str) -> str:
    """The text, short enough, and with what UTF-8 cannot carry replaced."""
    return text[:2000].encode("utf-8", "replace").decode()
