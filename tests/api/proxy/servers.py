"""Servers that the proxy can be led to: rows of open endpoints, and strange ones that behave as no good server does."""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from builders.lifecycle import a_server, now, owner_of

from orchestrator.jobs import endpoints
from orchestrator.storage.database import Database


def announce(
    database: Database, url: str, *, model: str = "tiny", served_id: str = "/srv/tiny", groups: int = 1
) -> int:
    """Open an endpoint; the number of its attempt."""
    with database.write() as session:
        attempt = a_server(session, {"model": model, "groups": groups})
        told = {"url": url, "served_id": served_id}
        endpoints.announce(session, attempt.id, owner=owner_of(session, attempt.id), now=now(), **told)
        return attempt.id


class Strange(BaseHTTPRequestHandler):
    """One request to a server that a test makes up; `said` writes what it likes to the client."""

    protocol_version = "HTTP/1.1"
    said: Callable[["Strange"], None]

    def do_POST(self):
        self.server.heard.append((dict(self.headers), self.rfile.read(int(self.headers["Content-Length"]))))
        type(self).said(self)

    def begin(self, kind: str, *, status: int = 200, **headers: str):
        self.send_response(status)
        for name, value in ({"Content-Type": kind} | headers).items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()

    def whole(self, body: bytes, *, status: int = 200, **headers: str):
        self.begin("application/json", status=status, Content_Length=str(len(body)), **headers)
        self.wfile.write(body)

    def chunk(self, piece: bytes):
        self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece))

    def log_message(self, *_):
        pass


@contextmanager
def strange(said: Callable[[Strange], None]) -> Iterator[ThreadingHTTPServer]:
    """A server on a free port; `heard` is what it was sent, `url` where it is."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (Strange,), {"said": said}))
    server.daemon_threads = True
    server.heard = []
    server.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
