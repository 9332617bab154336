"""What FastAPI found wrong with a request, field by field. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

from api.documents.base import FieldError
from orchestrator.model.wrong_fields import MOST_ERRORS, MOST_READ, dotted, plain_message, wrong_fields

_NO_BODY = {"missing", "model_attributes_type", "model_type"}


def field_errors(errors: Sequence[Mapping[str, Any]], body: Any, model: Any = None) -> list[FieldError]:
    """The errors of path, query and headers, then those of the body of this `model` as `wrong_fields` sees it."""
    around, inside = [], []
    for error in errors[:MOST_READ]:
        where, *path = error["loc"]
        if error["type"] == "json_invalid":
            around.append(_error_at("", f"the body is not JSON: {error['ctx']['error']} at character {path[0]}"))
        elif where != "body":
            around.append(_error_at(dotted(path), plain_message(error)))
        elif not path and error["type"] in _NO_BODY:
            around.append(_error_at("", "send a JSON object, with Content-Type: application/json"))
        else:
            inside.append({**error, "loc": path})
    told = [_error_at(wrong.field, wrong.message) for wrong in wrong_fields(inside, body, model)]
    return list(dict.fromkeys([*around, *told]))[:MOST_ERRORS]


def _error_at(field: str, message: str) -> FieldError:
    return FieldError(field=printable(field), message=printable(message))


def printable(text: str) -> str:
    """The text, short enough, and with what UTF-8 cannot carry replaced."""
    return text[:2000].encode("utf-8", "replace").decode()
