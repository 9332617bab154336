"""One POST to an address that was checked: no redirect, no proxy, no second look-up of the name, and never for long."""

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from functools import cache

from orchestrator.errors import OrchestratorError
from orchestrator.model.addresses import LOOPBACK, PRIVATE, refusal_of
from orchestrator.model.notifications import WebhookUrl
from orchestrator.settings import Settings

CONNECT_SECONDS = 5.0
READ_SECONDS = 10.0
TOTAL_SECONDS = 20.0
"""For all of it, so that a receiver that sends one byte a second is not waited for."""

_MOST_ADDRESSES = 4


class NotSent(OrchestratorError):
    """No receiver has answered; the text has nothing of the URL but its host."""

    code = "not_sent"


class AddressRefused(NotSent):
    """The host has an address that is not called."""

    code = "address_refused"


def post(url: WebhookUrl, headers: Mapping[str, str], body: bytes, settings: Settings) -> int:
    """The HTTP status of the answer, whatever it is; its body is not read. NotSent if there is none."""
    give_up = time.monotonic() + TOTAL_SECONDS
    addresses = allowed_addresses(url.host, url.port, settings)
    trouble: OSError | None = None
    for address in addresses[:_MOST_ADDRESSES]:
        try:
            connected = _connected(address, give_up)
        except OSError as error:
            trouble = error
            continue
        with connected:
            return _asked(connected, url, headers, body, give_up)
    raise NotSent(f"{url.host} cannot be reached: {_told(trouble)}")


_LIFTED_BY = {LOOPBACK: "TX81_NOTIFY_LOOPBACK", PRIVATE: "TX81_NOTIFY_PRIVATE"}


def allowed_addresses(host: str, port: int, settings: Settings) -> list[tuple[str, int]]:
    """The addresses of a host; AddressRefused if one of them is not called, NotSent if it has none.

    One refused address is enough: a name that has both is a trick, or will be one at the next look-up."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except (OSError, UnicodeError) as error:
        raise NotSent(f"{host} has no address: {_told(error)}") from None
    addresses = list(dict.fromkeys((str(entry[4][0]), port) for entry in found))
    for address, _ in addresses:
        why = refusal_of(address, loopback=settings.notify_loopback, private=settings.notify_private)
        if why is not None:
            lifted = f" ({_LIFTED_BY[why]})" if why in _LIFTED_BY else ""
            raise AddressRefused(f"{host} is not called: its address {address} {why}{lifted}", field="url")
    return addresses


def _connected(address: tuple[str, int], give_up: float) -> socket.socket:
    left = give_up - time.monotonic()
    if left <= 0:
        raise TimeoutError("timed out")
    return socket.create_connection(address, timeout=min(CONNECT_SECONDS, left))


def _asked(connected: socket.socket, url: WebhookUrl, headers: Mapping[str, str], body: bytes, give_up: float) -> int:
    with connected.dup() as other_end:
        # Its time-out counts anew with every byte that arrives; this one does not.
        limit = threading.Timer(max(0.0, give_up - time.monotonic()), _shut, [other_end])
        limit.daemon = True
        limit.start()
        try:
            connected.settimeout(READ_SECONDS)
            wire = _tls().wrap_socket(connected, server_hostname=url.host) if url.scheme == "https" else connected
            asking = http.client.HTTPConnection(url.host, url.port)
            asking.sock = wire
            try:
                asking.request("POST", url.path, body, {"Host": url.authority, **headers})
                return asking.getresponse().status
            finally:
                asking.close()
        except (OSError, http.client.HTTPException) as error:
            if time.monotonic() >= give_up:
                raise NotSent(f"{url.host} did not answer within {TOTAL_SECONDS:g} s") from None
            raise NotSent(f"{url.host} did not answer: {_told(error)}") from None
        finally:
            limit.cancel()
            limit.join()


def _shut(connection: socket.socket) -> None:
    with suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _told(error: BaseException | None) -> str:
    if isinstance(error, ssl.SSLError):
        return f"TLS: {error.reason or 'failed'}"
    if isinstance(error, OSError):
        return error.strerror or str(error) or type(error).__name__
    return type(error).__name__


@cache
def _tls() -> ssl.SSLContext:
    """Checks certificate and host name against the authorities of this machine."""
    return ssl.create_default_context()
