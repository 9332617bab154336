"""The server's side of HTTP: OpenAI's paths, errors in vLLM's format, streams as server-sent events."""

import json
import re
import select
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import TCPServer
from urllib.parse import urlsplit

from emulator.server import replies
from emulator.server.answering import Answering, Exchange
from emulator.server.asking import Ask, BadRequest, NoSuchModel, read_chat, read_completion
from emulator.server.lanes import ClientGone, Closing, Lane, QueueFull
from emulator.server.replies import Json, Reply
from emulator.tool import Failed, complain, say

_LARGEST_BODY = 10_000_000
_CHAT = "/v1/chat/completions"
_ASKED: Mapping[str, Callable[[bytes], Ask]] = {_CHAT: read_chat, "/v1/completions": read_completion}
_SHOWN = ("/health", "/v1/models")
_RETRY_AFTER = "1"
"""Seconds a client that found no room is asked to wait."""


class Endpoint(ThreadingHTTPServer):
    """Listens on one port and answers each connection in a thread of its own."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, host: str, port: int, answering: Answering) -> None:
        self.answering = answering
        self._asked = 0
        self._change = threading.Condition()
        super().__init__((host, port), _Handler, bind_and_activate=False)

    def server_bind(self) -> None:
        """Bind, without asking the name service for a name that nobody uses."""
        TCPServer.server_bind(self)

    @contextmanager
    def counted(self) -> Iterator[None]:
        """One request that is to be answered to its last byte."""
        with self._change:
            self._asked += 1
        try:
            yield
        finally:
            with self._change:
                self._asked -= 1
                self._change.notify_all()

    def quiet(self, within: float | None = None) -> bool:
        """Wait until every request has its answer; false if one still has not after `within` seconds."""
        with self._change:
            return self._change.wait_for(lambda: self._asked == 0, within)

    def handle_error(self, request: object, client_address: object) -> None:
        """A connection that failed is one line of the log, and nobody else's trouble."""
        complain(f"connection of {client_address}: {sys.exception()!r}")


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "tx8-emulator"
    sys_version = ""
    timeout = 120
    """Seconds a connection may rest, and a client may let a write wait."""
    server: Endpoint
    _streaming = False
    _chunked = False

    def do_GET(self) -> None:
        path = urlsplit(self.path).path
        if path == "/health":
            self._send(HTTPStatus.OK, b"")
        elif path == "/v1/models":
            self._send_json(HTTPStatus.OK, replies.models(self.server.answering.name, self.server.answering.longest))
        else:
            self._refuse_path(path)

    def do_POST(self) -> None:
        path, body = urlsplit(self.path).path, self._body()
        if body is None:
            return
        if path not in _ASKED:
            self._refuse_path(path)
            return
        with self.server.counted():
            self._answer_or_refuse(path, body)

    def _answer_or_refuse(self, path: str, body: bytes) -> None:
        try:
            self._answer(_ASKED[path](body), chat=path == _CHAT)
        except BadRequest as error:
            self._send_error(HTTPStatus.BAD_REQUEST, "BadRequestError", str(error))
        except NoSuchModel as error:
            self._send_error(HTTPStatus.NOT_FOUND, "NotFoundError", str(error))
        except QueueFull:
            self._send_error(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableError", "too many requests are waiting")
        except Closing:
            self._send_error(HTTPStatus.SERVICE_UNAVAILABLE, "ServiceUnavailableError", "the server is shutting down")
        except (ClientGone, OSError):
            self.close_connection = True

    def _answer(self, ask: Ask, *, chat: bool) -> None:
        answering = self.server.answering
        exchange = answering.prepare(ask)
        reply = Reply(answering.name, chat=chat, counted=ask.counted)
        say(f"INFO:     Received request {reply.id}: prompt {len(exchange.prompt)} tokens, room for {exchange.room}")
        with answering.lanes.taken(self._is_gone) as lane:
            try:
                if ask.stream:
                    self._stream(lane, exchange, reply)
                else:
                    answer = answering.answer(lane, exchange, lambda piece: None, self._is_gone)
                    self._send_json(HTTPStatus.OK, reply.whole(answer))
            except Failed as error:
                self._fail(str(error))

    def _stream(self, lane: Lane, exchange: Exchange, reply: Reply) -> None:
        self._open_stream()
        for event in reply.opening():
            self._event(event)
        answer = self.server.answering.answer(
            lane, exchange, lambda piece: self._event(reply.piece(piece)), self._is_gone
        )
        for event in reply.closing(answer):
            self._event(event)
        self._close_stream()

    def _open_stream(self) -> None:
        self.send_response(HTTPStatus.OK)
        self.send_header("Content-Type", "text/event-stream; charset=utf-8")
        self.send_header("Cache-Control", "no-cache")
        self._chunked = self.request_version == "HTTP/1.1"
        if self._chunked:
            self.send_header("Transfer-Encoding", "chunked")
        else:
            self.send_header("Connection", "close")
        self.end_headers()
        self._streaming = True

    def _event(self, event: Json) -> None:
        self._write(f"data: {json.dumps(event, ensure_ascii=False)}\n\n")

    def _write(self, text: str) -> None:
        payload = text.encode()
        self.wfile.write(b"%x\r\n%b\r\n" % (len(payload), payload) if self._chunked else payload)

    def _close_stream(self) -> None:
        self._write("data: [DONE]\n\n")
        if self._chunked:
            self.wfile.write(b"0\r\n\r\n")

    def _fail(self, message: str) -> None:
        """Tell of a failed card, in the stream if there is one already; such a stream has no `[DONE]`."""
        self.close_connection = True
        status = HTTPStatus.INTERNAL_SERVER_ERROR
        if self._streaming:
            self._event({"error": replies.error(status, "InternalServerError", message)})
        else:
            self._send_error(status, "InternalServerError", message)

    def _is_gone(self) -> bool:
        """Whether the client has hung up; bytes of a next request are no hanging up."""
        poll = select.poll()
        poll.register(self.connection, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        return bool(poll.poll(0))

    def _body(self) -> bytes | None:
        """The request's body, or None if it was refused."""
        length = self.headers.get("Content-Length", "")
        if not re.fullmatch(r"[0-9]{1,9}", length):
            self._send_error(HTTPStatus.LENGTH_REQUIRED, "BadRequestError", "Content-Length is required", last=True)
            return None
        if int(length) > _LARGEST_BODY:
            message = f"the body is larger than {_LARGEST_BODY} bytes"
            self._send_error(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "BadRequestError", message, last=True)
            return None
        return self.rfile.read(int(length))

    def _refuse_path(self, path: str) -> None:
        known = path in _ASKED or path in _SHOWN
        status = HTTPStatus.METHOD_NOT_ALLOWED if known else HTTPStatus.NOT_FOUND
        # A GET may have brought a body that nobody has read.
        self._send_error(status, "NotFoundError", f"{self.command} {path}: {status.phrase}", last=True)

    def _send_error(self, status: HTTPStatus, kind: str, message: str, *, last: bool = False) -> None:
        self.close_connection = self.close_connection or last
        self._send_json(status, replies.error(status, kind, message))

    def _send_json(self, status: HTTPStatus, content: Json) -> None:
        self._send(status, json.dumps(content, ensure_ascii=False).encode(), "application/json")

    def _send(self, status: HTTPStatus, content: bytes, kind: str = "text/plain") -> None:
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(content)))
        if status is HTTPStatus.SERVICE_UNAVAILABLE:
            self.send_header("Retry-After", _RETRY_AFTER)
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, format: str, *args: object) -> None:
        """One line a request, as uvicorn prints it."""
        line = f"INFO:     {self.address_string()} - {format % args}"
        say("".join(letter if letter.isprintable() else f"\\x{ord(letter):02x}" for letter in line))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        status = code if isinstance(code, HTTPStatus) else HTTPStatus(int(code))
        self.log_message('"%s" %s %s', self.requestline, str(status.value), status.phrase)
