"""Every page's route: the guard of the REST routes, with answers that a person can read."""

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, quote

from fastapi import APIRouter, Depends, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from api.access import GuardedRoute
from api.http.errors import BodyTooLarge
from api.http.problems import answer_to
from api.pages.rendering import HEADERS, render
from orchestrator.errors import BadRequest, Unauthenticated

Handler = Callable[[Request], Coroutine[Any, Any, Response]]

M = TypeVar("M", bound=BaseModel)

MOST_FIELDS = 1100
"""Of one form: an order names up to 1,000 jobs."""

MOST_BYTES = 64 * 1024
"""Of one form; also of one whose sender is not known yet."""


class OpenPageRoute(APIRoute):
    """A page for everybody: of signing in."""

    def get_route_handler(self) -> Handler:
        """Wrap the route's handler."""
        return _as_page(super().get_route_handler())


class PageRoute(GuardedRoute):
    """A page for who is signed in with its scope: the same as of the REST route whose call it shows."""

    def get_route_handler(self) -> Handler:
        """Wrap the route's handler."""
        return _as_page(super().get_route_handler())


def pages(route: type[APIRoute] = PageRoute) -> APIRouter:
    """A router of pages, which are no part of the API's document."""
    return APIRouter(route_class=route, include_in_schema=False, default_response_class=Response)


async def _form_of(request: Request) -> dict[str, list[str]]:
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise BodyTooLarge(f"the form has more than {MOST_BYTES} bytes")
    try:
        found = parse_qsl(body.decode("ascii"), max_num_fields=MOST_FIELDS, errors="strict")
    except ValueError:
        raise BadRequest("the form is too large, or is not one of a browser") from None
    fields: dict[str, list[str]] = {}
    for name, value in found:
        fields.setdefault(name, []).append(value)
    return fields


Fields = Annotated[dict[str, list[str]], Depends(_form_of)]
"""The fields of a form, as a browser sends it, without empty ones; BadRequest if it is none."""


def one(fields: dict[str, list[str]], name: str) -> str | None:
    """The value of a field; None if it is empty."""
    return fields[name][-1] if name in fields else None


def checked(model: type[M], **fields: Any) -> M:
    """A document of the API made of the fields of a form, refused as the API refuses it."""
    return validated(model, fields)


def validated(model: type[M], document: object) -> M:
    """A document of the API that came in another form than JSON, refused as the API refuses it."""
    try:
        return model.model_validate(document, strict=False)
    except ValidationError as wrong:
        errors = wrong.errors(include_url=False, include_input=False)
        placed = [{**error, "loc": ("body", *error["loc"])} for error in errors]
        raise RequestValidationError(placed, body=document) from None


def _as_page(handle: Handler) -> Handler:
    async def page(request: Request) -> Response:
        try:
            response = await handle(request)
        except Unauthenticated as refused:
            response = _to_sign_in(request) if _reads(request) else await _refusal(request, refused)
        except Exception as error:  # every error of a page is a page
            response = await _refusal(request, error)
        response.headers.update(HEADERS)
        return response

    return page


async def _refusal(request: Request, error: Exception) -> Response:
    problem = answer_to(error).problem
    template = "refusal.html" if "hx-request" in request.headers else "error.html"
    return await run_in_threadpool(render, request, template, problem.status, problem=problem)


def _reads(request: Request) -> bool:
    return request.method in ("GET", "HEAD")


def _to_sign_in(request: Request) -> Response:
    if "hx-request" in request.headers:
        return Response(status_code=204, headers={"HX-Refresh": "true"})
    wanted = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    return RedirectResponse(f"/sign-in?next={quote(wanted, safe='')}", 303)
