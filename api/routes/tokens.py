"""API tokens and their scopes. The value of a token is shown once, when it is created."""

from fastapi import APIRouter

from api.access import Actor, GuardedRoute, needs
from api.context import Given
from api.documents.base import Page
from api.documents.tokens import NewToken, TokenRequest, TokenView
from api.parameters import ThingName
from orchestrator import tokens
from orchestrator.model.scopes import Scope

router = APIRouter(prefix="/tokens", tags=["tokens"], route_class=GuardedRoute)

_ADMIN = needs(Scope.ADMIN)


@router.post("", status_code=201, openapi_extra=_ADMIN)
def make_token(body: TokenRequest, context: Given, actor: Actor) -> NewToken:
    """Create a token. Only this response contains its value: store it."""
    plain = tokens.make(context.database, body.name, (body.scope,), by=actor)
    return NewToken(name=body.name, scopes=(body.scope,), token=plain)


@router.get("", openapi_extra=_ADMIN)
def list_tokens(context: Given) -> Page[TokenView]:
    """All tokens by name, without their values."""
    with context.database.read() as session:
        return Page(items=tuple(TokenView.model_validate(row) for row in tokens.known(session)))


@router.post("/{name}/rotate", openapi_extra=_ADMIN)
def rotate_token(name: ThingName, context: Given, actor: Actor) -> NewToken:
    """Give a token another value, under its name and with its scopes; the old value is refused at once. Only this
    response contains the new value: store it."""
    plain = tokens.rotate(context.database, name, by=actor)
    with context.database.read() as session:
        return NewToken(name=name, scopes=tokens.verify(session, plain).scopes, token=plain)


@router.delete("/{name}", status_code=204, openapi_extra=_ADMIN)
def revoke_token(name: ThingName, context: Given, actor: Actor) -> None:
    """Revoke a token, at once. The last admin token cannot be revoked (409)."""
    tokens.revoke(context.database, name, by=actor)
