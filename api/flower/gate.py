"""Which requests may reach Flower: from its own pages or from no page, to one of its own host names, with its password.

Pure. A browser sends its cookies and passwords, and has its network access, for the requests of every page that is open
in it. So a page of another origin must be refused here, and also a host name that another page can point to this
machine (DNS rebinding).
"""

import hmac
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field

LOOPBACK = frozenset({"127.0.0.1", "localhost", "[::1]"})
OPEN = "/healthcheck"
"""The only page that needs no password; it answers OK."""
_READING = frozenset({"GET", "HEAD"})
_READ_BY_POST = "/tasks/datatable"
"""The table of tasks is read by POST, which changes nothing."""


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

    def refusal(self, method: str, path: str, headers: Mapping[str, str]) -> Refusal | None:
        """None for a request that may pass. The names of `headers` are in lower case."""
        host = headers.get("host", "")
        if _without_port(host) not in self.names:
            return Refusal(421, f"{host!r} is not a name of this Flower; add it to TX81_FLOWER_NAMES")
        if not _of_our_page(host, headers):
            return Refusal(403, "requests from pages of another origin are refused")
        if path == OPEN and method in _READING:
            return None
        if not self._knows_password(headers.get("authorization", "")):
            return Refusal(401, "user and password are needed; where they are is printed by: tx81 up")
        if method in _READING or (method == "POST" and (self.control or path == _READ_BY_POST)):
            return None
        if method == "POST":
            return Refusal(403, "read-only; to control workers here: tx81 up --flower-control (TX81_FLOWER_CONTROL)")
        return Refusal(405, f"{method} is not allowed")

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
