"""The cookie of a signed-in browser, and the header that goes with its orders."""

from fastapi import Request, Response

from orchestrator.sign_ins import SESSION_LIFE

ORDER_HEADER = "X-Order-Code"
"""Sent with every order of a browser: see `orchestrator.sign_ins.order_code`."""


def session_of(request: Request) -> str | None:
    """The secret in the browser's cookie."""
    return request.cookies.get(_name(request))


def keep_session(response: Response, request: Request, secret: str) -> None:
    """Have the browser send this secret with requests that begin on our own pages, and show it to no script."""
    response.set_cookie(
        _name(request), secret, max_age=int(SESSION_LIFE.total_seconds()), path="/", httponly=True,
        samesite="strict", secure=_by_tls(request),
    )  # fmt: skip


def forget_session(response: Response, request: Request) -> None:
    """Have the browser delete it."""
    response.delete_cookie(_name(request), path="/", httponly=True, samesite="strict", secure=_by_tls(request))


def _name(request: Request) -> str:
    """Browsers send cookies to every port of a host: two installations on one machine need two names."""
    port = request.url.port
    return f"{'__Host-' if _by_tls(request) else ''}tx81-session{f'-{port}' if port else ''}"


def _by_tls(request: Request) -> bool:
    """Also where a proxy on this host ends TLS and says so (X-Forwarded-Proto)."""
    return request.url.scheme == "https"
