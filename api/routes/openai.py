"""OpenAI's interface, for every model that a server has ready: any client of it works with our address and token."""

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
    """A guarded route whose refusals are OpenAI's."""

    # Clients of OpenAI's kin send some, such as Azure's `api-version`.
    ignores_unknown_parameters = True

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """Wrap the guarded handler."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except Exception as error:  # each of them has an answer, be it that the server failed
                return refusal(error)

        return answered


router = APIRouter(prefix="/v1", tags=["openai"], route_class=OpenAIRoute)

_INFERENCE = needs(Scope.INFERENCE)
_ANSWERED: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "What the server answers, whole or as server-sent events; `X-TX81-Job` is the job that serves.",
        "content": {"application/json": {}, "text/event-stream": {}},
    }
}
REFUSED: dict[int | str, dict[str, Any]] = {
    status: {"description": description, "model": ErrorDocument}
    for status, description in (
        ("4XX", "Refused; `error.code` says why."),
        ("5XX", "No server answered; with `Retry-After`, try again later."),
    )
}
"""Every refusal here has OpenAI's form."""


class CompletionRequest(BaseModel):
    """A request in OpenAI's words; the server that answers knows the other fields."""

    model_config = ConfigDict(extra="allow")

    model: str = Field(min_length=1, description="The registered name, as in `/v1/models`.")


class ServedModel(BaseModel):
    """A model that can be asked."""

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
    """The models that have a server which is ready."""
    ready: dict[str, int] = {}
    for server in await context.proxy.fleet.all():
        ready[server.model] = min(server.created, ready.get(server.model, server.created))
    return ServedModels(data=tuple(ServedModel(id=name, created=since) for name, since in sorted(ready.items())))


@router.get("/models/{name:path}", openapi_extra=_INFERENCE)
async def show_served_model(name: str, context: Given) -> ServedModel:
    """One model that has a server which is ready, by the name that requests call it."""
    return ServedModel(id=name, created=min(server.created for server in await context.proxy.fleet.of(name)))


@router.post("/chat/completions", openapi_extra=_INFERENCE, response_class=Response, responses=_ANSWERED)
async def chat(asked: CompletionRequest, context: Given) -> Response:
    """Answer a conversation, by the least busy server of the model."""
    return await context.proxy.relayed("/v1/chat/completions", asked.model, asked.model_extra or {})


@router.post("/completions", openapi_extra=_INFERENCE, response_class=Response, responses=_ANSWERED)
async def complete(asked: CompletionRequest, context: Given) -> Response:
    """Complete a text, by the least busy server of the model."""
    return await context.proxy.relayed("/v1/completions", asked.model, asked.model_extra or {})


@router.api_route(
    "/{path:path}",
    methods=["DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT", "TRACE"],
    openapi_extra=_INFERENCE,
    include_in_schema=False,
)
async def refuse_anything_else(path: str, request: Request) -> Response:
    """What OpenAI's interface has beside these, or in another way, in its own words."""
    others = (route for route in router.routes if getattr(route, "endpoint", None) is not refuse_anything_else)
    if allowed := allowed_methods(others, request.scope["path"]):
        raise MethodNotAllowed(f"/v1/{path} has no {request.method}; it has {', '.join(allowed)}", allowed=allowed)
    here = "models, models/NAME (GET), chat/completions, completions (POST)"
    raise NotFound(f"there is no {request.method} /v1/{path} here; there is {here}")
