"""Errors as RFC 9457 problem documents. The table from error to HTTP status is here and nowhere else."""

import logging
import secrets
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.documents.base import FieldError, Problem
from api.http.errors import (
    BodyTooLarge,
    MethodNotAllowed,
    NoServerReady,
    RangeBeyondEnd,
    ServerFailed,
    ServerSilent,
    StaleVersion,
)
from api.http.fields import field_errors, printable
from api.http.methods import allowed_methods
from orchestrator import errors
from orchestrator.catalog.child import NotWanted
from orchestrator.catalog.uploads import WrongOffset
from orchestrator.storage.artifacts import DamagedArtifact, StoreFull
from orchestrator.storage.away import AWAY, PERHAPS_NOT_MIGRATED, cannot_be_used, is_full, is_not_migrated, why
from orchestrator.storage.logs import DamagedLog

log = logging.getLogger(__name__)


STATUS: dict[type[errors.OrchestratorError], HTTPStatus] = {
    errors.Unauthenticated: HTTPStatus.UNAUTHORIZED,
    errors.Forbidden: HTTPStatus.FORBIDDEN,
    errors.NotFound: HTTPStatus.NOT_FOUND,
    errors.IllegalTransition: HTTPStatus.CONFLICT,
    errors.AlreadyExists: HTTPStatus.CONFLICT,
    errors.AlreadyReserved: HTTPStatus.CONFLICT,
    errors.EndpointClosed: HTTPStatus.CONFLICT,
    MethodNotAllowed: HTTPStatus.METHOD_NOT_ALLOWED,
    StaleVersion: HTTPStatus.PRECONDITION_FAILED,
    BodyTooLarge: HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    RangeBeyondEnd: HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE,
    WrongOffset: HTTPStatus.CONFLICT,
    NotWanted: HTTPStatus.REQUEST_TIMEOUT,
    errors.BadRequest: HTTPStatus.UNPROCESSABLE_ENTITY,
    errors.IdempotencyMismatch: HTTPStatus.UNPROCESSABLE_ENTITY,
    StoreFull: HTTPStatus.INSUFFICIENT_STORAGE,
    DamagedArtifact: HTTPStatus.INTERNAL_SERVER_ERROR,
    DamagedLog: HTTPStatus.INTERNAL_SERVER_ERROR,
    NoServerReady: HTTPStatus.SERVICE_UNAVAILABLE,
    ServerFailed: HTTPStatus.BAD_GATEWAY,
    ServerSilent: HTTPStatus.GATEWAY_TIMEOUT,
}
"""The first class in an error's line of ancestors that is here decides."""

HEADERS: dict[HTTPStatus, dict[str, str]] = {HTTPStatus.UNAUTHORIZED: {"WWW-Authenticate": "Bearer"}}


class ProblemResponse(JSONResponse):
    """A problem document."""

    media_type = "application/problem+json"

    def __init__(self, problem: Problem, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(problem.model_dump(mode="json", exclude_defaults=True), problem.status, headers)
        self.problem = problem


def install(app: FastAPI) -> None:
    """Answer every error of `app` as a problem."""
    for kind in (errors.OrchestratorError, RequestValidationError, HTTPException, *AWAY, *PERHAPS_NOT_MIGRATED):
        app.add_exception_handler(kind, _answered)
    app.add_middleware(_UnexpectedAnswered)


class _UnexpectedAnswered:
    """Answers what is raised and no handler knows. Starlette's own handler raises it again, so that uvicorn would log
    the same traceback a second time.

    An error after the beginning of an answer goes through, so that uvicorn breaks the connection and logs it."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        begun = False

        async def noted(message: Message) -> None:
            nonlocal begun
            begun = True
            await send(message)

        try:
            await self._app(scope, receive, noted)
        except Exception as error:
            if begun or scope["type"] != "http":
                raise
            await answer_to(error)(scope, receive, send)


async def _answered(request: Request, error: Exception) -> ProblemResponse:
    answer = answer_to(error, _model_of_body(request))
    if answer.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
        answer.headers["Allow"] = ", ".join(allowed_methods(request.app.routes, request.scope["path"]))
    return answer


def _model_of_body(request: Request) -> Any:
    """What the route takes as a body; None if it takes none, or there is no route."""
    body = getattr(request.scope.get("route"), "body_field", None)
    return None if body is None else body.field_info.annotation


def answer_to(error: Exception, model: Any = None) -> ProblemResponse:
    """The answer to any error of a route, which takes a body of this `model`."""
    match error:
        case errors.OrchestratorError():
            return _problem_of(error)
        case RequestValidationError():
            return _invalid(error, model)
        case HTTPException():
            status = HTTPStatus(error.status_code)
            return respond(status, status.name.lower(), error.detail, headers=error.headers)
        case _ if cannot_be_used(error):
            return _database_trouble(error)
        case _:
            return _incident(error)


def _problem_of(error: errors.OrchestratorError) -> ProblemResponse:
    """The answer to a fact that the core has stated."""
    status = next((STATUS[kind] for kind in type(error).__mro__ if kind in STATUS), None)
    if status is None:
        return _incident(error)
    headers = {**HEADERS.get(status, {}), **error.facts.get("headers", {})}
    return respond(status, error.code, error.detail, field=error.field, headers=headers)


def _invalid(error: RequestValidationError, model: Any) -> ProblemResponse:
    found = field_errors(error.errors(), error.body, model)
    first = found[0]
    return respond(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", first.message, field=first.field or None, errors=found)


def _database_trouble(error: Exception) -> ProblemResponse:
    log.error("the database cannot be used: %s", why(error))
    if is_full(error):
        detail = "the disk of the database is full; nothing was changed: free some space, then send it again"
        return respond(HTTPStatus.INSUFFICIENT_STORAGE, "database_full", detail)
    if is_not_migrated(error):
        detail = "the tables of the database are not those of this version; on the server, run: tx81 migrate"
        return respond(HTTPStatus.SERVICE_UNAVAILABLE, "database_not_migrated", detail, headers={"Retry-After": "30"})
    detail = "the database does not answer; try again in a moment"
    return respond(HTTPStatus.SERVICE_UNAVAILABLE, "database_away", detail, headers={"Retry-After": "5"})


def respond(
    status: HTTPStatus,
    code: str,
    detail: str,
    *,
    field: str | None = None,
    errors: Sequence[FieldError] = (),
    incident: str | None = None,
    headers: Mapping[str, str] | None = None,
) -> ProblemResponse:
    """A problem document; characters that JSON cannot carry are replaced."""
    problem = Problem(
        type=f"urn:tx81:problem:{code}",
        title=status.phrase,
        status=status,
        detail=printable(detail),
        code=code,
        field=None if field is None else printable(field),
        errors=tuple(errors),
        incident=incident,
    )
    return ProblemResponse(problem, headers)


def _incident(error: Exception) -> ProblemResponse:
    """The answer to a fault of ours: its text may hold anything, so the caller gets only a name to look it up by."""
    incident = secrets.token_hex(6)
    log.error("request failed, incident %s", incident, exc_info=error)
    detail = f"the server failed; see its log for incident {incident}"
    return respond(HTTPStatus.INTERNAL_SERVER_ERROR, "internal_error", detail, incident=incident)
