"""Servers that were not started here: found by their names once, checked, and asked at that address.

What a person writes into a spec must not lead a worker to the services of the network that trust it. So the settings
of the host list what may be asked, and every address of the name is checked.
"""

import socket
from collections.abc import Sequence

from orchestrator.errors import BadSpec, EndpointClosed
from orchestrator.model.addresses import refusal_of
from orchestrator.model.assignments import ForeignServer
from orchestrator.model.server_urls import ServerUrl, at_address, refusal
from orchestrator.settings import Settings
from workers.attempt.kinds.server import first_model

_CONNECT_SECONDS = 5.0
_LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def found(servers: Sequence[ServerUrl], settings: Settings) -> tuple[ForeignServer, ...]:
    """These servers by their addresses; BadSpec if one may not be asked, EndpointClosed if one does not answer."""
    return tuple(_found(server, settings) for server in servers)


def why_gone(server: ForeignServer) -> str | None:
    """Why a server no longer accepts connections; None if it does."""
    host, _, port = server.url.removeprefix("http://").rpartition(":")
    try:
        _connect(host.strip("[]"), int(port))
    except OSError as error:
        return f"the server at {server.authority} does not answer ({error.strerror or error})"
    return None


def _found(server: ServerUrl, settings: Settings) -> ForeignServer:
    if (why := refusal(server, settings.endpoint_hosts)) is not None:
        raise BadSpec(f"{why} on {settings.host}", field="endpoint")
    address = _reachable(server, _addresses(server))
    served_id = server.served_id or first_model(address, server.port, "/v1/models", authority=server.authority)
    if served_id is None:
        raise EndpointClosed(f"the server at {server.authority} does not list a model at /v1/models")
    return ForeignServer(at_address(address, server.port), server.authority, served_id)


def _addresses(server: ServerUrl) -> list[str]:
    try:
        listed = socket.getaddrinfo(server.host, server.port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise EndpointClosed(f"{server.host} has no address ({error})") from None
    addresses = list(dict.fromkeys(str(entry[4][0]) for entry in listed))
    # A list that names loopback names a port with it.
    loopback = server.host in _LOOPBACK_NAMES
    for address in addresses:
        # One is enough: a name that has both is a trick, or will be one at the next look-up.
        if (why := refusal_of(address, loopback=loopback, private=True)) is not None:
            raise BadSpec(f"{server.host} is not asked: its address {address} {why}", field="endpoint")
    return addresses


def _reachable(server: ServerUrl, addresses: Sequence[str]) -> str:
    trouble: OSError | None = None
    for address in addresses:
        try:
            _connect(address, server.port)
        except OSError as error:
            trouble = error
        else:
            return address
    raise EndpointClosed(
        f"the server at {server.authority} does not answer ({trouble and (trouble.strerror or trouble)})"
    )


def _connect(address: str, port: int) -> None:
    with socket.create_connection((address, port), timeout=_CONNECT_SECONDS):
        pass
