"""Checks before every route: token and scope, size of the body, and valid JSON.

They run before a route's own code, in this order: token or session, scope, query, size, JSON. The body of an unknown
client is never read.
"""

import hashlib
from collections.abc import Callable, Coroutine
from functools import cache
from typing import Annotated, Any

from anyio import CapacityLimiter, to_thread
from fastapi import Depends, Header, Request, Response, Security
from fastapi.dependencies.models import Dependant
from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from fastapi.security import HTTPBearer
from pydantic import TypeAdapter, ValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.types import Message, Receive
from starlette.types import Scope as ASGIScope

from api.context import context_of
from api.http.cookies import ORDER_HEADER, session_of
from api.http.errors import BodyTooLarge
from orchestrator import sign_ins
from orchestrator.catalog.uploads import Sender
from orchestrator.errors import BadRequest, Forbidden, OrchestratorError, Unauthenticated
from orchestrator.model.scopes import Scope, allows
from orchestrator.strict_json import BadDocument, loads
from orchestrator.submission.idempotency import Idempotency
from orchestrator.tokens import Bearer, verify

SMALL_BODY = 64 * 1024
"""Bodies up to this number of bytes are read and validated without a thread, which is faster."""

MOST_VALUES = 200_000
"""Largest number of values in one body; a submission of 1,000 jobs with all fields has about 40,000."""

MOST_ERRORS = 500
"""Largest number of wrong fields of a large body that are considered for its refusal."""

_LONGEST_SIZE = 18
"""Largest number of digits of a Content-Length that is parsed; a longer one exceeds every limit."""

_SHOWN_IN_A_BROWSER = {"Content-Security-Policy": "sandbox", "X-Content-Type-Options": "nosniff"}
"""What a job made is opened by a browser with the person's session: nothing of it runs, or counts as a page of ours."""

documented_scheme = Security(HTTPBearer(auto_error=False, description="A token, as `Authorization: Bearer tx81_…`."))
"""For the OpenAPI document only; `GuardedRoute` is what checks."""


def needs(scope: Scope) -> dict[str, Any]:
    """The `openapi_extra` of a route that requires another scope than viewer (GET) or submitter (other methods)."""
    return {"x-scope": str(scope)}


class GuardedRoute(APIRoute):
    """A route that is only reached with a token of its scope, known query parameters and a body that SQL can hold."""

    ignores_unknown_parameters = False

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        reads = set(kwargs.get("methods") or ("GET",)) <= {"GET", "HEAD"}
        default = needs(Scope.VIEWER if reads else Scope.SUBMITTER)
        # The scope that is checked is the one in the OpenAPI document.
        super().__init__(*args, **{**kwargs, "openapi_extra": {**default, **(kwargs.get("openapi_extra") or {})}})

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the route's handler."""
        handle = super().get_route_handler()
        known = _query_parameters(self.dependant)
        scope = Scope((self.openapi_extra or {})["x-scope"])
        validate = _validator(self.dependant)

        async def guarded(request: Request) -> Response:
            request.state.bearer = await run_in_threadpool(_bearer, request)
            _refuse_beyond_scope(request.state.bearer, scope)
            context = context_of(request)
            if not self.ignores_unknown_parameters:
                _refuse_unknown_parameters(request, known)
            limited = _limited(request, context.settings.max_body_bytes)
            try:
                response = await handle(_StrictRequest(request.scope, limited, validate))
            except _Refused as refused:
                raise refused.error from None
            if session_of(request) is not None:
                response.headers.update(_SHOWN_IN_A_BROWSER)
            return response

        return guarded


class _Refused(HTTPException):
    """Carries a refusal through FastAPI's body parsing, which lets only its own exceptions pass."""

    def __init__(self, error: OrchestratorError | RequestValidationError) -> None:
        super().__init__(422)
        self.error = error


class _StrictRequest(Request):
    """Reads its body strictly. A large one is also validated here, in a thread: the event loop serves all clients."""

    def __init__(self, scope: ASGIScope, receive: Receive, validate: Callable[[Any], Any]) -> None:
        super().__init__(scope, receive)
        self._validate = validate

    async def json(self) -> Any:
        if not hasattr(self, "_json"):
            body = await self.body()
            if len(body) <= SMALL_BODY:
                self._json = strict_json(body)
            else:
                # FastAPI accepts a validated document unchanged.
                self._json = await to_thread.run_sync(self._validated, body, limiter=_large_bodies())
        return self._json

    def _validated(self, body: bytes) -> Any:
        return self._validate(strict_json(body))


@cache
def _large_bodies() -> CapacityLimiter:
    """Number of large bodies read at once: all share one interpreter, so that two would not be read sooner, and a
    single step of each (the search for strings, 80 ms) keeps everybody else waiting."""
    return CapacityLimiter(1)


def _validator(dependant: Dependant) -> Callable[[Any], Any]:
    """Converts a document to the route's model; a document without a single model stays unchanged."""
    if len(dependant.body_params) != 1:
        return lambda document: document
    info = dependant.body_params[0].field_info
    model: Any = Annotated[info.annotation, info]
    adapter: TypeAdapter[Any] = TypeAdapter(model)

    def validate(document: Any) -> Any:
        try:
            return adapter.validate_python(document)
        except ValidationError as wrong:
            errors = wrong.errors(include_url=False, include_input=False)[:MOST_ERRORS]
            placed = [{**error, "loc": ("body", *error["loc"])} for error in errors]
            raise _Refused(RequestValidationError(placed, body=document)) from None

    return validate


def strict_json(body: bytes) -> Any:
    """The document of a body; refuses what `orchestrator.strict_json` refuses."""
    try:
        return loads(body, most_values=MOST_VALUES)
    except BadDocument as bad:
        detail = bad.what if bad.line is None else str(bad)
        raise _Refused(BadRequest(detail, field=bad.field)) from None


def _query_parameters(dependant: Dependant) -> set[str]:
    own = {parameter.alias for parameter in dependant.query_params}
    return own.union(*map(_query_parameters, dependant.dependencies))


def _refuse_unknown_parameters(request: Request, known: set[str]) -> None:
    """If a misspelled filter were ignored, the answer would contain everything."""
    for name in request.query_params:
        if name not in known:
            instead = f"known: {', '.join(sorted(known))}" if known else "this route has none"
            raise BadRequest(f"unknown query parameter; {instead}", field=name)


def _limited(request: Request, most: int) -> Receive:
    """The request's body, counted while it is read: the length announced by a client may be missing or wrong."""
    error = BodyTooLarge(f"the body is larger than {most} bytes (TX81_MAX_BODY_BYTES); send less at once")
    announced = request.headers.get("content-length", "0")
    received = 0

    async def receive() -> Message:
        nonlocal received
        if announced.isdecimal() and (len(announced) > _LONGEST_SIZE or int(announced) > most):
            raise _Refused(error)
        message = await request.receive()
        received += len(message.get("body", b""))
        if received > most:
            raise _Refused(error)
        return message

    return receive


def _bearer(request: Request) -> Bearer:
    secret = session_of(request)
    if secret is not None and "authorization" not in request.headers:
        return _signed_in(request, secret)
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated("send a token: Authorization: Bearer tx81_…")
    with context_of(request).database.read() as session:
        return verify(session, token.strip())


def _signed_in(request: Request, secret: str) -> Bearer:
    database = context_of(request).database
    with database.read() as session:
        bearer = sign_ins.bearer_of(session, secret, database.now(session))
    if request.method not in ("GET", "HEAD") and not sign_ins.fits(secret, request.headers.get(ORDER_HEADER, "")):
        raise Forbidden(f"an order of a browser needs the {ORDER_HEADER} of its page; load the page again")
    return bearer


def _refuse_beyond_scope(bearer: Bearer, needed: Scope) -> None:
    if not allows(bearer.scopes, needed):
        granted = ", ".join(bearer.scopes) or "no scope"
        raise Forbidden(
            f"this needs the scope {needed}, but token {bearer.name} has {granted}; an admin can create another token: "
            f"tx81 tokens create NAME --scope {needed}"
        )


def _actor(request: Request) -> str:
    bearer: Bearer = request.state.bearer
    return bearer.name


Actor = Annotated[str, Depends(_actor)]
"""The name of the caller's token, recorded in events as the user."""


def _sender(request: Request) -> Sender:
    bearer: Bearer = request.state.bearer
    return Sender(bearer.name, admin=allows(bearer.scopes, Scope.ADMIN))


Uploader = Annotated[Sender, Depends(_sender)]
"""The caller to whom an upload is counted."""

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        pattern=r"^[\x20-\x7e]{1,200}$",
        description="With the same key, a repeated request creates nothing a second time.",
    ),
]


async def _idempotency(request: Request, key: IdempotencyKey = None) -> Idempotency | None:
    if key is None:
        return None
    said = f"{request.method} {request.url.path}\n".encode() + await request.body()
    return Idempotency(request.state.bearer.token_id, key, hashlib.sha256(said).hexdigest())


Once = Annotated[Idempotency | None, Depends(_idempotency)]
"""The caller's idempotency key with a digest of the whole request, or None."""
