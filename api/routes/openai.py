"""OpenAI's API for every model with a ready server: any of its clients works with our address and token."""

from collections.abc import Callable, Coroutine
from typing import Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from api.access import GuardedRoute, needs
from api.context import Given
from api.http.errors import MethodNotAllowed
from api.http.methods import allowed_methods
from api.proxy.refusals import ErrorDocument, refusal
from orchestrator.errors import NotFound
from orchestrator.model.scopes import Scope


class OpenAIRoute(GuardedRoute):
    """A guarded route whose refusals have OpenAI's format."""

    # Some OpenAI-compatible clients send query parameters, such as Azure's `api-version`.
    ignores_unknown_parameters = True

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the guarded handler."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # each of them has an answer, also if the server failed
                return refusal(error)

        return answered


router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute)

_INFERENCE = needs(Scope.INFERENCE)
_ANSWERED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "The server's answer, complete or as server-sent events; `X-TX81-Job` is the job of the server.",
        "content": {"application/json": {}, "text/event-stream": {}},
    }
}
REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "model": ErrorDocument}
    for status, description in (
        ("4XX", "Refused; `error.code` is the reason."),
        ("5XX", "No server answered; with `Retry-After`, try again later."),
    )
}
"""Every refusal here has OpenAI's format."""


class CompletionRequest(BaseModel):
    """A request in OpenAI's format; the other fields are passed to the server."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, description="The registered name, as in `/v1/models`.")


class ServedModel(BaseModel):
    """A model that accepts requests."""

    id: str
    object: Literal["model"] = "model"
    created: int
    """When its oldest server was ready, in seconds since 1970."""
    owned_by: str = "tx81"


class ServedModels(BaseModel):
    """All models that are ready."""

    object: Literal["list"] = "list"
    data: tuple[ServedModel, ...]


@router.get("/models", openapi_extra=_INFERENCE)
async def list_served_models(context: Given) -> ServedModels:
    """The models that have a ready server."""
    ready: dict[str, int] = {}
    for server in await context.proxy.fleet.all():
        ready[server.model] = min(server.created, ready.get(server.model, server.created))
    return ServedModels(data=tuple(ServedModel(id=name, created=since) for name, since in sorted(ready.items())))


@router.get("/models/{name:path}", openapi_extra=_INFERENCE)
async def show_served_model(name: str, context: Given) -> ServedModel:
    """One model that has a ready server, by the name used in requests."""
    return ServedModel(id=name, created=min(server.created for server in await context.proxy.fleet.of(name)))


@router.post("/chat/completions", openapi_extra=_INFERENCE, response_class=Response, responses=_ANSWERED)
async def chat(asked: CompletionRequest, context: Given) -> Response:
    """Complete a conversation, on the least busy server of the model."""
    return await context.proxy.relayed("/v1/chat/completions", asked.model, asked.model_extra or {})


@router.post("/completions", openapi_extra=_INFERENCE, response_class=Response, responses=_ANSWERED)
async def complete(asked: CompletionRequest, context: Given) -> Response:
    """Complete a text, on the least busy server of the model."""
    return await context.proxy.relayed("/v1/completions", asked.model, asked.model_extra or {})


@router.api_route(
    "/{path:path}",
    methods=["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"],
    openapi_extra=_INFERENCE,
    include_in_schema=False,
)
async def refuse_anything_else(path: str, request: Request) -> Response:
    """Other paths of OpenAI's API, which are not supported; refused in OpenAI's format."""
    others = (route for route in router.routes if getattr(route, "endpoint", None) is not refuse_anything_else)
    if allowed := allowed_methods(others, request.scope["path"]):
        raise MethodNotAllowed(f"/v1/{path} has no {request.method}; it has {', '.join(allowed)}", allowed=allowed)
    here = "models, models/NAME (GET), chat/completions, completions (POST)"
    raise NotFound(f"there is no {request.method} /v1/{path} here; there is {here}")
