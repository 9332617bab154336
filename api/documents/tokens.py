"""The documents about tokens."""

from datetime import datetime

from pydantic import Field

from api.documents.base import View
from orchestrator.model.scopes import Scope
from orchestrator.model.specs import Name, Strict


class TokenRequest(Strict):
    """A token to create."""

    name: Name = Field(description="Name of its user; recorded in every event that the token causes.")
    scope: Scope


class TokenView(View):
    """A stored token, without its value."""

    name: str
    scopes: tuple[str, ...]
    created_at: datetime
    revoked_at: datetime | None


class WhoamiView(View):
    """The token that was sent."""

    name: str = Field(description="Recorded with everything that is submitted or changed with it.")
    scopes: tuple[str, ...]


class NewToken(View):
    """A token with the value that it was just given, shown for the only time."""

    name: str
    scopes: tuple[str, ...]
    token: str
