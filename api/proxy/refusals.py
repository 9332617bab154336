"""Refusals in the words of OpenAI's interface: its clients read `error.message`, where ours read a problem document."""

from http import HTTPStatus

from pydantic import BaseModel
from starlette.responses import JSONResponse, Response

from api.http import problems

_TYPES = {HTTPStatus.UNAUTHORIZED: "authentication_error", HTTPStatus.FORBIDDEN: "permission_error"}


class ErrorObject(BaseModel):
    """What is wrong, for a person and for a program."""

    message: str
    type: str
    param: str | None
    """The field at fault."""
    code: str


class ErrorDocument(BaseModel):
    """The body of every refusal below `/v1`, and the last event of a stream that broke."""

    error: ErrorObject


def refusal(error: Exception) -> Response:
    """The answer to an error: status and words are those of the problem document."""
    answer = problems.answer_to(error)
    # OpenAI's interface has no 422.
    status = HTTPStatus.BAD_REQUEST if answer.status_code == HTTPStatus.UNPROCESSABLE_ENTITY else answer.status_code
    headers = {
        name: answer.headers[name] for name in ("allow", "retry-after", "www-authenticate") if name in answer.headers
    }
    return JSONResponse(_document(answer, HTTPStatus(status)).model_dump(), status, headers=headers)


def last_event(error: Exception) -> bytes:
    """The event that ends a stream which cannot go on. No `[DONE]` follows: that would call it whole."""
    answer = problems.answer_to(error)
    return f"data: {_document(answer, HTTPStatus(answer.status_code)).model_dump_json()}\n\n".encode()


def _document(answer: problems.ProblemResponse, status: HTTPStatus) -> ErrorDocument:
    problem = answer.problem
    kind = _TYPES.get(status, "server_error" if status >= HTTPStatus.INTERNAL_SERVER_ERROR else "invalid_request_error")
    return ErrorDocument(error=ErrorObject(message=problem.detail, type=kind, param=problem.field, code=problem.code))
