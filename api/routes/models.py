"""Models: register, list, show."""

from threading import Event

from fastapi import APIRouter, Request

from api.access import GuardedRoute, Uploader
from api.context import Given
from api.documents.base import Page
from api.documents.models import ModelDetail, ModelView
from api.http.disconnects import while_wanted
from api.parameters import Retired, ThingName
from orchestrator.catalog import queries
from orchestrator.catalog.registry import ModelRequest

router = APIRouter(prefix="/models", tags=["models"], route_class=GuardedRoute)


@router.post("", status_code=201)
async def register_model(body: ModelRequest, context: Given, request: Request, sender: Uploader) -> ModelDetail:
    """Register a weights directory below an allowed root; all of it is read, so this takes a while.

    Unpacking an upload stops if the client disconnects, and leaves nothing; send the request again to restart it."""

    def register(gone: Event) -> ModelDetail:
        return ModelDetail.model_validate(context.registry.register_model(body, sender, gone=gone))

    return await while_wanted(request, register)


@router.get("")
def list_models(context: Given, retired: Retired = False) -> Page[ModelView]:
    """The models in use by name, or the retired ones."""
    with context.database.read() as session:
        return Page(items=tuple(ModelView.model_validate(row) for row in queries.models(session, retired=retired)))


@router.get("/{model}")
def show_model(model: ThingName, context: Given) -> ModelDetail:
    """One model with its config.json files."""
    with context.database.read() as session:
        return ModelDetail.model_validate(queries.model(session, model))
