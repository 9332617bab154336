"""Whose token was sent."""

from fastapi import APIRouter, Request

from api.access import GuardedRoute
from api.documents.tokens import WhoamiView
from orchestrator.tokens import Bearer

router = APIRouter(prefix="/whoami", tags=["tokens"], route_class=GuardedRoute)


@router.get("")
async def whoami(request: Request) -> WhoamiView:
    """Name and scopes of the token that was sent with this request."""
    bearer: Bearer = request.state.bearer
    return WhoamiView(name=bearer.name, scopes=bearer.scopes)
