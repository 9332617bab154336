"""Servers that were not started here: how they are named, and which of them may be asked. Pure."""

import re
from collections.abc import Iterable
from ipaddress import ip_address
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field

from orchestrator.model.spec_words import Strict

LONGEST_URL = 300


def _plain(url: str) -> str:
    """`http://HOST:PORT`, in lower case; ValueError says what is wrong, without the URL, which may hold a password."""
    if re.fullmatch(r"[\x21-\x7e]+", url) is None or "\\" in url:
        raise ValueError("the URL contains blanks, control characters, backslashes or characters that are not ASCII")
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise ValueError("the URL has no valid host or port") from None
    if "@" in parts.netloc:
        raise ValueError("the URL contains a user or a password: a server that asks for one is not supported")
    if parts.scheme != "http" or not host or not re.fullmatch(r"[0-9a-z_.:-]+", host):
        raise ValueError("write the URL as http://HOST:PORT")
    if parts.path.rstrip("/") not in ("", "/v1") or parts.query or parts.fragment:
        raise ValueError("write the URL as http://HOST:PORT, without a path: /v1 is added")
    if port == 0:
        raise ValueError("the URL has no valid host or port")
    return f"http://{_bracketed(host)}:{port or 80}"


class ServerUrl(Strict):
    """A server that was not started here, at an address that the settings allow (TX81_ENDPOINT_HOSTS)."""

    url: Annotated[str, Field(max_length=LONGEST_URL), AfterValidator(_plain)] = Field(
        description="http://HOST:PORT of a server with OpenAI's API."
    )
    served_id: str | None = Field(
        default=None, min_length=1, max_length=300, pattern=r"^[!-~]+$",
        description="Name of the model on the server. Default: the first that it lists.",
    )  # fmt: skip

    @property
    def host(self) -> str:
        """Name or address of the server."""
        return urlsplit(self.url).hostname or ""

    @property
    def port(self) -> int:
        """The port at which it listens."""
        return urlsplit(self.url).port or 80

    @property
    def authority(self) -> str:
        """The value of `Host`."""
        return f"{_bracketed(self.host)}:{self.port}"


def at_address(address: str, port: int) -> str:
    """The URL of a port at an address."""
    return f"http://{_bracketed(address)}:{port}"


def refusal(server: ServerUrl, allowed: Iterable[str]) -> str | None:
    """Why a server is not asked: no entry of TX81_ENDPOINT_HOSTS (`HOST:PORT` or `HOST`) is it; None if one is."""
    if {f"{_same(server.host)}:{server.port}", _same(server.host)}.intersection(map(_entry, allowed)):
        return None
    return f"{server.authority} is not in TX81_ENDPOINT_HOSTS, the list of servers elsewhere that may be asked"


def _entry(text: str) -> str:
    host, port = re.fullmatch(r"(\[[^]]*\]|[^:]*)(:\d+)?", text).groups(default="")  # type: ignore[union-attr]
    return f"{_same(host.strip('[]'))}{port}"


def _same(host: str) -> str:
    """One spelling of a name or an address."""
    try:
        return str(ip_address(host))
    except ValueError:
        return host.lower().rstrip(".")


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
