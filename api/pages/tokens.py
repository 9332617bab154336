"""Tokens, for admins: which there are, and creating, renewing and revoking them. A value is shown once."""

from fastapi import Request, Response

from api.access import Actor
from api.context import Given
from api.documents.tokens import TokenRequest
from api.pages.guard import Fields, checked, one, pages
from api.pages.rendering import render
from api.parameters import Retired, ThingName
from api.routes import tokens
from orchestrator.model.scopes import Scope

router = pages()

_ADMIN = {"x-scope": "admin"}


@router.get("/tokens", openapi_extra=_ADMIN)
def list_tokens(context: Given, request: Request, retired: Retired = False) -> Response:
    """The tokens that are valid, or those that were revoked."""
    found = [token for token in tokens.list_tokens(context).items if (token.revoked_at is not None) == retired]
    return render(request, "tokens.html", tokens=found, scopes=[str(scope) for scope in Scope], retired=retired)


@router.post("/tokens", openapi_extra=_ADMIN)
def make_token(context: Given, request: Request, actor: Actor, fields: Fields) -> Response:
    """Create one; only this answer has its value."""
    asked = checked(TokenRequest, name=one(fields, "name"), scope=one(fields, "scope"))
    return render(request, "token_made.html", made=tokens.make_token(asked, context, actor))


@router.post("/tokens/{name}/rotate", openapi_extra=_ADMIN)
def rotate_token(name: ThingName, context: Given, request: Request, actor: Actor) -> Response:
    """Give it another value; only this answer has it."""
    return render(request, "token_made.html", made=tokens.rotate_token(name, context, actor))


@router.post("/tokens/{name}/revoke", openapi_extra=_ADMIN)
def revoke_token(name: ThingName, context: Given, request: Request, actor: Actor) -> Response:
    """Revoke it, at once."""
    tokens.revoke_token(name, context, actor)
    return Response(status_code=204, headers={"HX-Refresh": "true"})
