"""The servers that requests can go to, as this process sees them: which there are, and how busy it keeps each.

The list is read from SQL when something was committed since it was last read, and once more before a model is refused.
What other processes ask of the same servers is not counted: a server that is full of their requests says so.
"""

import asyncio
import logging
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from anyio.to_thread import run_sync

from api.http.errors import NoServerReady, NotServed
from api.proxy.pace import Pace, PaceSoFar
from api.streams.wakeups import WakeUps
from orchestrator.errors import EndpointClosed
from orchestrator.jobs import endpoints
from orchestrator.storage.database import Database
from orchestrator.storage.tables import Endpoint

log = logging.getLogger(__name__)

FRESH_SECONDS = 0.1
"""The list is read no more often than this, however much is committed."""

OLD_SECONDS = 1.0
"""Until then a list is good enough while a newer one is read; an older list is never used."""

USE_SECONDS = 5.0
"""How often uses are noted; the first after so long without one at once, or the server would end under it as idle."""

REST_SECONDS = 2.0
"""How long a server that could not be reached, or was full, comes after all others."""

COMING_SECONDS = 5
"""When to ask again for a model whose server is on its way."""


@dataclass(eq=False)
class Upstream:
    """One open endpoint, with what this process asks of it."""

    attempt_id: int
    job_id: int
    model: str
    served_id: str
    url: str
    groups: int
    """Requests it works on at once; more than that wait there."""
    created: int
    """When it was ready, in seconds since 1970."""
    in_flight: int = 0
    used: bool = False
    """Whether it was asked since its use was last noted."""
    noted_at: float = float("-inf")
    """When that was, by the monotonic clock."""
    chosen: int = 0
    """The number of the last request that went there: the smallest has rested longest."""
    avoided_until: float = 0.0
    pace: Pace = field(default_factory=Pace)


def best(servers: Collection[Upstream], now: float) -> Upstream:
    """The one to ask: most room, then longest without a request; one that just failed only if there is no other."""
    return min(servers, key=lambda each: (each.avoided_until > now, each.in_flight / each.groups, each.chosen))


def is_plain(url: str) -> bool:
    """Whether a row's url is what a worker writes, `http://ADDRESS:PORT`; nothing else is ever called."""
    try:
        parts = urlsplit(url)
        return url == f"http://{parts.netloc}" and bool(parts.hostname and parts.port) and "@" not in parts.netloc
    except ValueError:
        return False


class Fleet:
    """All servers that are open now; lives in the application's event loop."""

    def __init__(self, database: Database, wakeups: WakeUps) -> None:
        self._database = database
        self._wakeups = wakeups
        self._servers: dict[int, Upstream] = {}
        self._reading = asyncio.Lock()
        self._read_at = float("-inf")
        self._turn: asyncio.Event | None = None
        self._requests = 0
        self._hurry = asyncio.Event()

    async def all(self) -> list[Upstream]:
        """Every one of them, in the order of their jobs."""
        now = time.monotonic()
        age, committed = now - self._read_at, self._turn is None or self._turn.is_set()
        if age > OLD_SECONDS:
            await self._read(since=now - OLD_SECONDS)
        elif age > FRESH_SECONDS and committed and not self._reading.locked():
            await self._read(since=now - FRESH_SECONDS)
        return list(self._servers.values())

    async def of(self, model: str) -> list[Upstream]:
        """Those that answer for a model, named as it is registered or as the server names it.

        NotServed if there is none; NoServerReady if there is none yet.
        """
        found = _named(model, await self.all())
        if not found:
            await self._read(since=time.monotonic())
            found = _named(model, self._servers.values())
        if not found:
            coming = await run_sync(self._coming, model)
            served = sorted({server.model for server in self._servers.values()})
            raise _missing(model, coming, served)
        return found

    def in_flight(self, attempt_id: int) -> int:
        """Number of requests that this process has in flight there; may be called from any thread."""
        server = self._servers.get(attempt_id)
        return 0 if server is None else server.in_flight

    def pace(self, attempt_id: int) -> PaceSoFar | None:
        """How fast the server answered lately through this process; may be called from any thread."""
        server = self._servers.get(attempt_id)
        return None if server is None else server.pace.so_far()

    @contextmanager
    def asked(self, server: Upstream) -> Iterator[None]:
        """Count one request to `server` for as long as the block runs."""
        self._requests += 1
        server.chosen, server.used = self._requests, True
        server.in_flight += 1
        if time.monotonic() - server.noted_at > USE_SECONDS:
            self._hurry.set()
        try:
            yield
        finally:
            server.in_flight -= 1

    def avoid(self, server: Upstream) -> None:
        """Ask the others first for a moment."""
        server.avoided_until = time.monotonic() + REST_SECONDS

    async def note_uses(self) -> None:
        """Tell the database which servers are in use, as long as the task lives: an idle server ends."""
        self._hurry = asyncio.Event()  # of the loop that runs now: an application may be started more than once
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._hurry.wait(), USE_SECONDS)
            self._hurry.clear()
            used = [server for server in self._servers.values() if server.used or server.in_flight]
            for server in used:
                server.used, server.noted_at = False, time.monotonic()
            if used:
                await run_sync(self._note, sorted(server.attempt_id for server in used))

    async def _read(self, since: float) -> None:
        """Have a list that was read after `since`, be it by another request."""
        async with self._reading:
            if self._read_at > since:
                return
            turn, now = self._wakeups.turn(), time.monotonic()
            found = await run_sync(self._found)
            self._servers = {each.attempt_id: self._servers.get(each.attempt_id, each) for each in found}
            self._turn, self._read_at = turn, now

    def _found(self) -> list[Upstream]:
        with self._database.read() as session:
            return [_server(row) for row in endpoints.open_endpoints(session) if is_plain(row.url)]

    def _coming(self, model: str) -> list[int]:
        with self._database.read() as session:
            return list(endpoints.coming(session, model))

    def _note(self, attempts: Sequence[int]) -> None:
        for attempt_id in attempts:
            try:
                with self._database.write() as session:
                    endpoints.note_use(session, attempt_id, self._database.now(session))
            except EndpointClosed:
                pass  # it ended meanwhile; the client has been answered
            except Exception:  # were the task to die, servers would end under their clients as idle
                log.warning("the use of attempt %s was not recorded", attempt_id, exc_info=True)


def _server(row: Endpoint) -> Upstream:
    return Upstream(
        attempt_id=row.attempt_id, job_id=row.job_id, model=row.model, served_id=row.served_id, url=row.url,
        groups=row.groups, created=int(row.ready_at.timestamp()),
    )  # fmt: skip


def _named(model: str, servers: Collection[Upstream]) -> list[Upstream]:
    return [server for server in servers if model in (server.model, server.served_id)]


def _missing(model: str, coming: Sequence[int], served: Sequence[str]) -> NotServed | NoServerReady:
    name = model if len(model) <= 100 else f"{model[:100]}…"
    if coming:
        waited = f"no server of {name} is ready yet; job {coming[0]} is starting one: tx81 show {coming[0]}"
        return NoServerReady(waited, retry_after=COMING_SECONDS)
    there = f"served now: {', '.join(served)}" if served else "nothing is served now, see: tx81 serve"
    return NotServed(f"the model {name!r} is not served; {there}", field="model")
