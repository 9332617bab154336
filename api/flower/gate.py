"""Which requests may reach Flower: from its own pages or from no page, to one of its own host names, with its password
or from a browser that is signed in to the dashboard.

Pure. A browser sends its cookies and passwords, and has its network access, for the requests of every page that is open
in it. So a page of another origin must be refused here, and also a host name that another page can point to this
machine (DNS rebinding).
"""

import hmac
import re
from base64 import b64decode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from orchestrator.model.scopes import Scope, allows

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
OPEN = "/healthcheck"
"""The only page that needs no password; it answers OK."""
_READING = frozenset({"GET", "HEAD"})
_SESSION = re.compile(r"(?:__Host-)?tx81-session(?:-[0-9]+)?=([\w-]{20,200})", re.ASCII)
"""The cookie of a session (`api.http.cookies`); browsers send it to all ports of a host."""
_MOST_SESSIONS = 4
"""Cookies of other installations on this host may come along."""
_READ_BY_POST = "/tasks/datatable"
"""The table of tasks is read by POST, which changes nothing."""


_WHO = "sign in to the dashboard first, or give user and password; where they are is printed by: tx81 up"


@dataclass(frozen=True)
class Refusal:
    """Why a request is not passed on, as an HTTP status and a sentence."""

    status: int
    detail: str


@dataclass(frozen=True, kw_only=True)
class Gate:
    """The password, the host names, and whether control is allowed."""

    user: str
    password: str = field(repr=False)
    names: frozenset[str] = LOOPBACK
    """Host names, without a port, by which Flower is reached."""
    control: bool = False
    """Whether workers and tasks may be controlled; otherwise access is read-only."""
    scopes_of: Callable[[str], Iterable[str]] = field(default=lambda secret: (), repr=False)
    """What the session with this secret may do; nothing if there is none."""

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """None for a request that may pass. The names of `headers` are in lower case."""
        host = headers.get("host", "")
        if _without_port(host) not in self.names:
            return Refusal(421, f"{host!r} is not a name of this Flower; add it to TX81_FLOWER_NAMES")
        if not _of_our_page(host, headers):
            return Refusal(403, "requests from pages of another origin are refused")
        if path == OPEN and method in _READING:
            return None
        knows = self._knows_password(headers.get("authorization", ""))
        scopes = (Scope.OPERATOR,) if knows else self._scopes(headers.get("cookie", ""))
        if not allows(scopes, Scope.VIEWER):
            return Refusal(401, _WHO)
        if method in _READING or (method == "POST" and path == _READ_BY_POST):
            return None
        if method != "POST":
            return Refusal(405, f"{method} is not allowed")
        if not self.control:
            return Refusal(403, "read-only; to control workers here: tx81 up --flower-control (TX81_FLOWER_CONTROL)")
        if not knows and ("origin" not in headers or not allows(scopes, Scope.OPERATOR)):
            return Refusal(403, "controlling workers needs the scope operator, and a request of Flower's own page")
        return None

    def _scopes(self, cookies: str) -> tuple[str, ...]:
        """What the sessions of a browser may do."""
        secrets = _SESSION.findall(cookies)[:_MOST_SESSIONS]
        return tuple(scope for secret in secrets for scope in self.scopes_of(secret))

    def _knows_password(self, authorization: str) -> bool:
        scheme, _, given = authorization.partition(" ")
        try:
            known = b64decode(given.strip(), validate=True)
        except ValueError:
            return False
        wanted = f"{self.user}:{self.password}".encode()
        return hmac.compare_digest(known, wanted) and scheme.lower() == "basic"


def _without_port(host: str) -> str:
    name, colon, port = host.rpartition(":")
    return (name if colon and port.isascii() and port.isdigit() else host).lower()


def _of_our_page(host: str, headers: Mapping[str, str]) -> bool:
    origin, site = headers.get("origin"), headers.get("sec-fetch-site")
    if origin is not None and origin.lower() not in (f"http://{host}".lower(), f"https://{host}".lower()):
        return False
    # Following a link to Flower is harmless; showing it in a frame of another page is not.
    followed = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
    return site in (None, "none", "same-origin") or followed
