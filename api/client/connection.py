"""One connection of the client: requests that return an answer or raise an error, and event streams.

All HTTP code of the client is here; `api.client` is a list of routes that uses it.
"""

import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar
from urllib.parse import quote

import httpx2
from pydantic import BaseModel, ValidationError

from api.documents.base import Page, Problem

V = TypeVar("V", bound=BaseModel)
Query = Mapping[str, Any]
Piece = bytes
"""An alias, because the class has a method called `bytes`."""

SILENCE_SECONDS = 40.0
"""A stream without data for this time is dead: the server sends a comment every 15 s."""

RECONNECT_SECONDS = 1.0

LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

PATIENCE_SECONDS = 60.0
"""How long a server that answered before may be away, for example for a restart, before a stream fails."""


class ApiError(Exception):
    """The server refused a request; its text is for a person, `code` is for a program.

    `parameter` is the query parameter that the refused field is or belongs to, if it is one."""

    def __init__(
        self, status: int, code: str, detail: str, field: str | None = None, parameter: str | None = None
    ) -> None:
        super().__init__(f"{field}: {detail}" if field else detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.field = field
        self.parameter = parameter


def segment(word: object) -> str:
    """A name or number as one part of a path, quoted.

    ApiError, as from a server without such a thing, for what is the name of nothing: empty, a dot, two, or with a
    slash."""
    text = str(word)
    if text in ("", ".", "..") or "/" in text:
        raise ApiError(404, "not_found", f"there is nothing called {text!r}")
    return quote(text, safe="", errors="surrogateescape")


class ServerUnreachable(Exception):
    """No server answers at that address, or the connection broke before the answer was complete."""


class Connection:
    """Sends requests with one token to one server; a value of None in a query is left out."""

    def __init__(self, base_url: str, token: str, timeout: float) -> None:
        self._base = base_url.rstrip("/")
        with _reached(self._base):
            base = httpx2.URL(f"{self._base}/api/v1")
            near = base.host in LOOPBACK
            self._http = httpx2.Client(
                base_url=base,
                headers={"Authorization": f"Bearer {token}"},
                timeout=timeout,
                # A proxy for external addresses cannot reach a server that listens on loopback.
                trust_env=not near,
                # Loading the trusted authorities takes 20 ms of every command; plain HTTP does not need them.
                verify=ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if near and base.scheme == "http" else True,
            )

    def close(self) -> None:
        """Close the sockets."""
        self._http.close()

    def get(self, path: str, query: Query | None = None) -> httpx2.Response:
        """The whole answer; ApiError if it is a refusal."""
        with _reached(self._base):
            return _checked(self._http.get(path, params=_given(query or {})))

    def probe(self, path: str) -> httpx2.Response:
        """The answer of a path outside the API's root, whatever its status."""
        with _reached(self._base):
            return self._http.get(f"{self._base}{path}")

    def page(self, view: type[V], path: str, query: Query) -> Page[V]:
        """A page of a list."""
        return Page[view].model_validate(self.get(path, query).json())  # type: ignore[valid-type]  # known at run time

    def bytes(self, path: str, query: Query) -> Iterator[bytes]:
        """The answer's bytes as they arrive."""
        with _reached(self._base), self._http.stream("GET", path, params=_given(query)) as answer:
            _checked(answer)
            yield from answer.iter_bytes()

    def put(self, path: str, body: Any) -> httpx2.Response:
        """The answer; ApiError if it is a refusal."""
        with _reached(self._base):
            return _checked(self._http.put(path, json=body))

    def patch(self, path: str, offset: int, piece: Piece) -> httpx2.Response:
        """The answer to a piece of a file; ApiError if it is a refusal."""
        headers = {"Upload-Offset": str(offset), "Content-Type": "application/octet-stream"}
        with _reached(self._base):
            return _checked(self._http.patch(path, content=piece, headers=headers))

    def delete(self, path: str) -> None:
        """Nothing; ApiError if it is a refusal."""
        with _reached(self._base):
            _checked(self._http.delete(path))

    def post(
        self,
        path: str,
        body: Any = None,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout: Any = httpx2.USE_CLIENT_DEFAULT,
    ) -> httpx2.Response:
        """The whole answer; ApiError if it is a refusal. With a `key`, a repeated request has no further effect."""
        sent = {**(headers or {}), **({"Idempotency-Key": key} if key else {})}
        with _reached(self._base):
            return _checked(self._http.post(path, json=body, headers=sent, timeout=timeout))

    def follow(
        self, path: str, query: Query, position: str | None = None, deadline: float | None = None
    ) -> Iterator[httpx2.ServerSentEvent]:
        """The events of a stream after `position`, without end, and without a gap after broken connections.

        ServerUnreachable if no server answers, at first or later; TimeoutError if it breaks after `deadline`.
        """
        failing_since = float("-inf")
        while True:
            try:
                for event in self._events(path, query, position):
                    failing_since = float("inf")
                    position = event.id or position
                    yield event
            except ServerUnreachable:
                failing_since = min(failing_since, time.monotonic())
                if time.monotonic() - failing_since > PATIENCE_SECONDS:
                    raise
                self.pause(deadline)

    def pause(self, deadline: float | None = None) -> None:
        """Wait a moment before trying again; TimeoutError once `deadline` (of `time.monotonic`) has passed."""
        time.sleep(min(seconds_left(deadline) or RECONNECT_SECONDS, RECONNECT_SECONDS))

    def _events(self, path: str, query: Query, position: str | None) -> Iterator[httpx2.ServerSentEvent]:
        headers = {} if position is None else {"Last-Event-ID": position}
        timeout = httpx2.Timeout(30.0, read=SILENCE_SECONDS)
        with (
            _reached(self._base),
            self._http.sse(path, params=_given(query), headers=headers, timeout=timeout) as source,
        ):
            _checked(source.response)
            yield from source
        raise ServerUnreachable(f"{self._base} ended the stream")


class Calls:
    """Methods on one connection, one per route."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection


def sent(document: BaseModel) -> Any:
    """A request as it is sent: only the fields that the caller has set, without defaults."""
    return document.model_dump(mode="json", exclude_unset=True)


def seconds_left(deadline: float | None) -> float | None:
    """Seconds until `deadline`, or None if there is none; TimeoutError once it has passed."""
    if deadline is None:
        return None
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError("not all jobs have ended in time")
    return left


@contextmanager
def _reached(address: str) -> Iterator[None]:
    try:
        yield
    except (httpx2.HTTPError, httpx2.InvalidURL) as trouble:
        raise ServerUnreachable(
            f"cannot reach the orchestrator at {address}: {trouble or type(trouble).__name__}"
        ) from trouble


def _checked(answer: httpx2.Response) -> httpx2.Response:
    if answer.is_success:
        return answer
    answer.read()
    try:
        problem = Problem.model_validate_json(answer.content)
    except ValidationError:
        raise ApiError(answer.status_code, "unknown", f"the server answered {answer.status_code}") from None
    name = (problem.field or "").partition(".")[0]
    parameter = name if name in answer.request.url.params else None
    raise ApiError(problem.status, problem.code, problem.detail, problem.field, parameter)


def _given(values: Query) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
