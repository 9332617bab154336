"""One request on its way: to the best server, to the next one if that does not take it, and the answer back.

A server is asked at most once for a request. The next one is asked if it cannot be reached, if it is full (503), or if
it broke off before it had said anything; but a request at which two servers broke off is given to no third: it may be
what they died of. After the first byte was passed on, a lost connection is reported as the stream's last event.
"""

import asyncio
import json
import logging
import ssl
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from typing import Any

import anyio
import httpx2
from anyio.streams.memory import MemoryObjectSendStream
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.http.errors import NoServerReady, ServerFailed, ServersFull, ServerSilent
from api.proxy.answers import Events, Naming
from api.proxy.fleet import Fleet, Upstream, best
from api.proxy.pace import Reading
from api.proxy.refusals import last_event, refusal
from api.streams.wakeups import WakeUps
from orchestrator.errors import OrchestratorError
from orchestrator.settings import Settings
from orchestrator.storage.database import Database

log = logging.getLogger(__name__)

CONNECT_SECONDS = 3.0
"""Long enough for one lost packet, which is sent again after a second."""

KEEP_ALIVE_SECONDS = 15.0
"""After this time without data from the server, the client is sent a comment, so that no proxy closes the stream."""

_ALIVE = b": keep-alive\n\n"

FULL_SECONDS = 1
"""When to retry if no server accepts the request, as the servers themselves say."""

MOST_BREAKS = 2
"""Servers that may die of one request."""


class Proxy:
    """The way to all servers; `open` belongs to the application's life."""

    def __init__(self, settings: Settings, database: Database, wakeups: WakeUps) -> None:
        self.fleet = Fleet(database, wakeups)
        self._silence = settings.server_silence.total_seconds()
        self._client: httpx2.AsyncClient | None = None

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        """Connections to servers, and notes of their use, until the block is left."""
        async with httpx2.AsyncClient(
            # A connection that brings nothing for so long is given up.
            timeout=httpx2.Timeout(self._silence, connect=CONNECT_SECONDS, pool=None),
            # A connection for each request: a connection that stays open would count as a use of an idle server.
            limits=httpx2.Limits(max_connections=None, max_keepalive_connections=0),
            # Neither our environment nor a server decides where a request goes.
            trust_env=False,
            follow_redirects=False,
            # Servers are asked by plain HTTP, so no authority is trusted; loading those that are takes 20 ms.
            verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT),
            headers={
                "Accept-Encoding": "identity",
                "Connection": "close",
                "Content-Type": "application/json",
                "User-Agent": "tx81",
            },
        ) as self._client:
            noting = asyncio.create_task(self.fleet.note_uses())
            try:
                yield
            finally:
                noting.cancel()
                with suppress(asyncio.CancelledError):
                    await noting

    async def relayed(self, path: str, model: str, fields: Mapping[str, Any]) -> "Relay":
        """The answer to a request; NotServed or NoServerReady if there is no server to ask."""
        assert self._client is not None, "the application has not been started"
        return Relay(self._client, self.fleet, Question(path, model, fields, await self.fleet.of(model)))


@dataclass(frozen=True)
class Question:
    """What a client asks, and of whom it can be asked."""

    path: str
    model: str
    """As the client named it."""
    fields: Mapping[str, Any]
    """The body but for the model."""
    servers: Sequence[Upstream]


@dataclass(frozen=True)
class _Answer:
    server: Upstream
    status: int
    headers: dict[str, str]
    first: bytes
    """All of it, unless there is more."""
    more: AsyncIterator[bytes] | None
    reading: Reading


class Relay(Response):
    """Asks while it is sent; a client that hangs up ends the request wherever it is."""

    def __init__(self, client: httpx2.AsyncClient, fleet: Fleet, question: Question) -> None:
        super().__init__()
        self._client = client
        self._fleet = fleet
        self._question = question

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, for as long as there is somebody to answer to."""

        async def leave_when_gone() -> None:
            while (await receive())["type"] != "http.disconnect":
                pass
            group.cancel_scope.cancel()

        async with anyio.create_task_group() as group:
            group.start_soon(leave_when_gone)
            async with AsyncExitStack() as held:
                try:
                    answer = await self._asked(held)
                except OrchestratorError as error:
                    await refusal(error)(scope, receive, send)
                else:
                    await self._tell(answer, scope, receive, send)
            group.cancel_scope.cancel()

    async def _asked(self, held: AsyncExitStack) -> _Answer:
        """The first answer that a server gives, open until `held` is left; or why there is none."""
        left, full, breaks = list(self._question.servers), False, 0
        while left:
            server = best(left, time.monotonic())
            left.remove(server)
            try:
                async with AsyncExitStack() as trying:
                    trying.enter_context(self._fleet.asked(server))
                    answer = await self._ask(server, trying)
                    if answer.status != httpx2.codes.SERVICE_UNAVAILABLE:
                        held.push_async_exit(trying.pop_all())
                        return answer
                    full = True
            except httpx2.ReadTimeout:
                raise ServerSilent("the server sent nothing for too long") from None
            except httpx2.TransportError as trouble:
                log.warning("the server of job %s at %s: %r", server.job_id, server.url, trouble)
                breaks += not isinstance(trouble, httpx2.ConnectError | httpx2.ConnectTimeout)
                if breaks == MOST_BREAKS:
                    raise ServerFailed(
                        "two servers closed the connection during this request; it is not sent to a third"
                    ) from None
            self._fleet.avoid(server)
        raise _not_taken(self._question.model, full=full, broke=breaks > 0)

    async def _ask(self, server: Upstream, held: AsyncExitStack) -> _Answer:
        """Its answer up to the first bytes, open until `held` is left; httpx2.TransportError if there is none."""
        body = json.dumps({**self._question.fields, "model": server.served_id})
        reading = Reading(server.pace, time.monotonic)
        answer = await self._client.send(
            self._client.build_request("POST", f"{server.url}{self._question.path}", content=body.encode()), stream=True
        )
        held.push_async_callback(answer.aclose)
        if answer.is_redirect:
            raise ServerFailed("the server answered with a redirect, which is not followed")
        kept = ("content-type", "retry-after")
        headers = {name: answer.headers[name] for name in kept if name in answer.headers}
        headers["x-tx81-job"] = str(server.job_id)
        if not headers.get("content-type", "").startswith("text/event-stream"):
            return _Answer(server, answer.status_code, headers, await answer.aread(), None, reading)
        pieces = answer.aiter_raw()
        # A server that breaks off before the first event can still be replaced by another.
        first = await anext(pieces, b"")
        return _Answer(server, answer.status_code, headers, first, pieces, reading)

    async def _tell(self, answer: _Answer, scope: Scope, receive: Receive, send: Send) -> None:
        naming = Naming(answer.server.served_id, self._question.model)
        if answer.more is None:
            await Response(naming(answer.first), answer.status, answer.headers)(scope, receive, send)
            return

        async def tell(piece: bytes) -> None:
            if piece:
                answer.reading.hear(piece)
                await send({"type": "http.response.body", "body": piece, "more_body": True})

        headers = [(name.encode(), value.encode("latin-1")) for name, value in answer.headers.items()]
        headers += [(b"cache-control", b"no-cache"), (b"x-accel-buffering", b"no")]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await _pass_on(answer.first, answer.more, Events(naming), tell)
        answer.reading.end()
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pass_on(
    first: bytes, more: AsyncIterator[bytes], events: Events, tell: Callable[[bytes], Awaitable[None]]
) -> None:
    """Send the server's events to the client, comments during pauses, and an error event if the server breaks off."""
    sender, receiver = anyio.create_memory_object_stream[bytes | OrchestratorError]()
    async with anyio.create_task_group() as group, receiver:
        group.start_soon(_hear, more, sender)
        try:
            await tell(events.feed(first))
            while True:
                with anyio.move_on_after(KEEP_ALIVE_SECONDS) as patience:
                    heard = await receiver.receive()
                if patience.cancelled_caught:
                    await tell(_ALIVE)
                elif isinstance(heard, OrchestratorError):
                    raise heard
                else:
                    await tell(events.feed(heard))
        except anyio.EndOfStream:
            await tell(events.rest())
        except OrchestratorError as error:
            await tell(last_event(error))
        group.cancel_scope.cancel()


async def _hear(pieces: AsyncIterator[bytes], sender: MemoryObjectSendStream[bytes | OrchestratorError]) -> None:
    """Send each piece as it arrives, and then the error if the server broke off."""
    with sender:
        try:
            async for piece in pieces:
                await sender.send(piece)
        except httpx2.ReadTimeout:
            await sender.send(ServerSilent("the server stopped in the middle of its answer and sent nothing more"))
        except httpx2.TransportError:
            await sender.send(ServerFailed("the server closed the connection in the middle of its answer"))


def _not_taken(model: str, *, full: bool, broke: bool) -> OrchestratorError:
    if full:
        return ServersFull(f"the queues of all servers of {model} are full", retry_after=FULL_SECONDS)
    if broke:
        return ServerFailed(f"the server closed the connection before it answered, and {model} has no other server")
    return NoServerReady(f"no server of {model} can be reached", retry_after=FULL_SECONDS)
