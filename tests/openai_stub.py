"""A server that says over OpenAI's interface whatever a test tells it to, one connection a request."""

import json
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "/served/model"

Said = Iterable[bytes] | tuple[int, str]
"""Pieces of a stream, or the status and message of a refusal."""


def event(**about: Any) -> bytes:
    return f"data: {json.dumps(about, ensure_ascii=False)}\n\n".encode()


def piece(text: str, reason: str | None = None) -> bytes:
    return event(choices=[{"index": 0, "delta": {"content": text}, "finish_reason": reason}])


def thought(text: str, *, name: str = "reasoning_content") -> bytes:
    """Thinking, as servers send it that keep it apart from the answer."""
    return event(choices=[{"index": 0, "delta": {name: text, "content": None}, "finish_reason": None}])


def usage(prompt: int, output: int) -> bytes:
    return event(choices=[], usage={"prompt_tokens": prompt, "completion_tokens": output})


DONE = b"data: [DONE]\n\n"


def answer(*texts: str, reason: str = "stop", prompt_tokens: int = 3) -> list[bytes]:
    """A whole answer of one token a text."""
    return [*(piece(text) for text in texts), piece("", reason), usage(prompt_tokens, len(texts)), DONE]


class Stub:
    """Where it listens, and what it was asked."""

    def __init__(self, url: str, port: int) -> None:
        self.url = url
        self.port = port
        self.asked: list[dict[str, Any]] = []
        self.paths: list[str] = []

    def prompts(self) -> list[str]:
        return [body["messages"][0]["content"] for body in self.asked]


@contextmanager
def openai_stub(say: Callable[[dict[str, Any]], Said]) -> Iterator[Stub]:
    """Serve while the block runs; `say` may take its time, each request has a thread."""
    noting = threading.Lock()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self._whole(200, {"data": [{"id": MODEL}]})

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with noting:
                stub.asked.append(body)
                stub.paths.append(self.path)
            said = say(body)
            if isinstance(said, tuple):
                self._whole(said[0], {"message": said[1]})
                return
            self.send_response(200)
            self.end_headers()
            # Who has read enough may leave.
            with suppress(ConnectionError):
                for some in said:
                    self.wfile.write(some)
                    self.wfile.flush()

        def _whole(self, status: int, document: dict[str, Any]) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(json.dumps(document).encode())

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    port = server.server_address[1]
    stub = Stub(f"http://127.0.0.1:{port}", port)
    serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    serving.start()
    try:
        yield stub
    finally:
        server.shutdown()
        serving.join()
        server.server_close()
