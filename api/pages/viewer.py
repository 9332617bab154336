"""Who looks at a page, and how: language, theme, time zone, and what they may order."""

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from fastapi import Request

from api.http.cookies import session_of
from api.pages import languages
from orchestrator import sign_ins
from orchestrator.model.scopes import Scope, allows
from orchestrator.tokens import Bearer

THEMES = ("light", "dark")


@dataclass(frozen=True)
class Viewer:
    """Everything about the browser that a page depends on."""

    name: str | None
    """The token's; None before signing in."""
    scopes: tuple[str, ...]
    order_code: str
    """What its orders carry; empty before signing in."""
    language: str
    theme: str | None
    """None: as the browser prefers."""
    zone: ZoneInfo | None

    def may(self, scope: str) -> bool:
        """Whether an order that needs this scope is shown."""
        return allows(self.scopes, Scope(scope))

    @property
    def midnight(self) -> datetime:
        """When the viewer's day began."""
        return datetime.now(self.zone or UTC).replace(hour=0, minute=0, second=0, microsecond=0)

    @property
    def tag(self) -> str:
        """The language as HTML names it."""
        return self.language.replace("_", "-")


def viewer_of(request: Request) -> Viewer:
    """The viewer who sent this request; signed in if the route's guard let them in."""
    bearer: Bearer | None = getattr(request.state, "bearer", None)
    secret = session_of(request)
    theme = request.cookies.get("theme")
    return Viewer(
        name=bearer.name if bearer else None,
        scopes=bearer.scopes if bearer else (),
        order_code=sign_ins.order_code(secret) if bearer and secret else "",
        language=languages.chosen(request.cookies.get("language"), request.headers.get("accept-language")),
        theme=theme if theme in THEMES else None,
        zone=languages.zone(request.cookies.get("zone")),
    )
