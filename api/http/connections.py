"""Connections of the API: bounded in number, and none may stand open without asking anything.

A client that opens connections and never ends its request (by mistake, or "slow loris") would otherwise take all
descriptors of the process, and with them the database and the store.
"""

import asyncio
import errno
import logging
import resource
import time
from collections.abc import Mapping
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

log = logging.getLogger("api")

HEADER_SECONDS = 20.0
"""From the first byte of a request (or the connection) until its headers are complete."""
BODY_SECONDS = 60.0
"""How long a client may send nothing of a body that it has announced."""
MOST_CONNECTIONS = 4096
BACKLOG = 1024
"""Connections that the kernel holds ready for us."""
_EACH = 2
"""Descriptors that a request may need: its own connection, and one to a server, a file or the database."""
_OTHERS = 256
"""Descriptors for everything else."""
_FULL = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: text/plain\r\nRetry-After: 5\r\nConnection: close\r\n"
    b"Content-Length: 21\r\n\r\ntoo many connections\n"
)
_NO_DESCRIPTOR = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_TELL_AGAIN = 10.0


def raise_descriptor_limit() -> int:
    """Let this process open as many files as the administrator allows it; how many that are."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return soft if hard == resource.RLIM_INFINITY else hard


def most_connections(descriptors: int) -> int:
    """How many connections a process with so many descriptors can serve and still do its work."""
    return max(1, min(MOST_CONNECTIONS, (descriptors - min(_OTHERS, descriptors // 2)) // _EACH))


def taken_together(most: int) -> int:
    """How many connections asyncio takes before it looks at the first of them, which is when it may be refused."""
    return max(1, min(256, most // 8))


class BoundedProtocol(H11Protocol):
    """One connection. Of those that are too many, the one goes that has waited longest without a request under way.

    A class for each server, made by `bounded`."""

    most: int
    waiting: dict["BoundedProtocol", None]
    """Without a request under way, the one that has waited longest first."""
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the connection, or answer 503 if all others are being served."""
        while len(self.connections) >= self.most and self.waiting:
            oldest = next(iter(self.waiting))
            del self.waiting[oldest]
            oldest.abandon()
        if len(self.connections) >= self.most:
            transport.write(_FULL)
            transport.close()
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget it."""
        self._stop_watching()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Each piece of a body is waited for anew; headers have to be complete by one moment."""
        if self.transport.is_closing():
            return
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop_watching()
        self._watch()

    def on_response_complete(self) -> None:
        """From here on uvicorn's own timer ends an idle connection; the next request begins with its first byte."""
        self._stop_watching()
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and not self.transport.is_closing():
            self.waiting[self] = None

    def abandon(self) -> None:
        """Close at once and count it no more."""
        self.connections.discard(self)
        self.transport.abort()

    def _watch(self) -> None:
        if self._timer is not None or self.transport.is_closing():
            return
        if self.conn.their_state is h11.IDLE:
            self.waiting[self] = None
            self._timer = self.loop.call_later(HEADER_SECONDS, self.abandon)
        elif self.conn.their_state is h11.SEND_BODY:
            self._timer = self.loop.call_later(BODY_SECONDS, self._give_up_body)

    def _stop_watching(self) -> None:
        self.waiting.pop(self, None)
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up_body(self) -> None:
        self._timer = None
        if self.flow.read_paused:  # it is we who do not read
            self._watch()
        else:
            self.abandon()


def bounded(most: int) -> type[BoundedProtocol]:
    """The protocol of a server that serves at most so many connections."""
    return type("Bounded", (BoundedProtocol,), {"most": most, "waiting": {}})


class QuietAboutDescriptors:
    """An exception handler of an event loop: when descriptors run out, asyncio has a traceback for each connection."""

    def __init__(self) -> None:
        self._told_at = -_TELL_AGAIN

    def __call__(self, loop: asyncio.AbstractEventLoop, context: Mapping[str, Any]) -> None:
        """Tell of missing descriptors in one line, every ten seconds; of everything else as asyncio does."""
        error = context.get("exception")
        if not (isinstance(error, OSError) and error.errno in _NO_DESCRIPTOR):
            loop.default_exception_handler(dict(context))
        elif time.monotonic() - self._told_at >= _TELL_AGAIN:
            self._told_at = time.monotonic()
            log.error("no more connections can be accepted: %s; raise the limit of open files", error.strerror)
