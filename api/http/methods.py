"""Methods of paths (RFC 9110): what a path allows, and HEAD wherever there is GET."""

from collections.abc import Iterable

from anyio import CancelScope
from starlette.routing import BaseRoute, Match
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METHODS = ("DELETE", "GET", "OPTIONS", "PATCH", "POST", "PUT", "TRACE")


def allowed_methods(routes: Iterable[BaseRoute], path: str) -> list[str]:
    """Every method that some route takes for this path, whatever route was tried first; HEAD with GET."""
    routes = list(routes)

    def is_taken(method: str) -> bool:
        asked: Scope = {"type": "http", "path": path, "root_path": "", "method": method, "headers": []}
        return any(route.matches(dict(asked))[0] is Match.FULL for route in routes)

    taken = [method for method in _METHODS if is_taken(method)]
    return sorted([*taken, "HEAD"] if "GET" in taken else taken)


class HeadAsGet:
    """Answers HEAD as GET without its content: the same status and headers; a stream ends after its headers."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the life of the application."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return
        with CancelScope() as answering:

            async def send_start(message: Message) -> None:
                if message["type"] == "http.response.start":
                    await send(message)
                    await send({"type": "http.response.body", "body": b""})
                    answering.cancel()  # what would make the content, which may never end

            await self._app({**scope, "method": "GET"}, receive, send_start)
