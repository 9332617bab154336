"""Links that sign a browser in."""

from fastapi import APIRouter, Request

from api.access import GuardedRoute, needs
from api.context import Given
from api.documents.sign_ins import SignInLinkView
from orchestrator import sign_ins
from orchestrator.model.scopes import Scope

router = APIRouter(prefix="/sign-in-links", tags=["tokens"], route_class=GuardedRoute)


@router.post("", status_code=201, openapi_extra=needs(Scope.VIEWER))
def make_sign_in_link(context: Given, request: Request) -> SignInLinkView:
    """Make a link that signs one browser in with the caller's scopes. It works once, for ten minutes."""
    code, expires_at = sign_ins.make_link(context.database, request.state.bearer)
    # Behind the #, which browsers send to no server: it is in no access log, and no preview of the link uses it up.
    return SignInLinkView(path=f"/sign-in#{code}", expires_at=expires_at)
