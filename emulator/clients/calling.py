"""The HTTP code of a client: sends one question at a time to a server on this host, and reads the streamed answer."""

import http.client
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from emulator.tool import Failed

_HOST = "127.0.0.1"
_PATIENCE = 600
"""Seconds without a byte after which the server is given up, as OpenAI's own client has it."""


@dataclass(frozen=True)
class Heard:
    """One answer; times in seconds from the sending of the question on."""

    text: str
    finish_reason: str
    prompt_tokens: int
    output_tokens: int
    seconds: float
    ttft_seconds: float


class Caller:
    """One server, asked for one kind of answer (chat or completion)."""

    def __init__(self, port: int, *, chat: bool) -> None:
        self.port = port
        self._chat = chat
        with _trouble(port):
            listed = json.loads(self._request("GET", "/v1/models", None).read())
            self._model = str(listed["data"][0]["id"])

    def ask(self, question: str, max_tokens: int) -> Heard:
        """The whole answer; one that the server did not bring to its end is `Failed`."""
        asked = {"messages": [{"role": "user", "content": question}]} if self._chat else {"prompt": question}
        options = {"model": self._model, "max_tokens": max_tokens, "temperature": 0, "stream": True}
        body = json.dumps({**asked, **options, "stream_options": {"include_usage": True}}).encode()
        path = "/v1/chat/completions" if self._chat else "/v1/completions"
        began = time.perf_counter()
        with _trouble(self.port):
            return self._hear(self._request("POST", path, body), began)

    def _hear(self, response: http.client.HTTPResponse, began: float) -> Heard:
        pieces: list[str] = []
        usage: dict[str, int] = {}
        first, reason = 0.0, ""
        for event in _events(response):
            if "error" in event:
                raise Failed(f"port {self.port}: {event['error']['message']}")
            usage = event.get("usage") or usage
            for choice in event["choices"]:
                thought, piece = _said(choice["delta"]) if self._chat else ("", choice["text"] or "")
                first = first or (time.perf_counter() - began if thought or piece else 0.0)
                pieces.append(piece)
                reason = choice.get("finish_reason") or reason
        seconds = time.perf_counter() - began
        if reason not in ("stop", "length"):
            raise Failed(f"port {self.port}: the server ended before the answer did ({reason or 'no finish reason'})")
        return Heard(
            "".join(pieces), reason, usage["prompt_tokens"], usage["completion_tokens"], seconds, first or seconds
        )

    def _request(self, method: str, path: str, body: bytes | None) -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection(_HOST, self.port, timeout=_PATIENCE)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        connection.request(method, path, body, headers)
        response = connection.getresponse()
        if response.status != http.client.OK:
            raise Failed(f"port {self.port}: {response.status} {_message(response.read())}")
        return response


@contextmanager
def _trouble(port: int) -> Iterator[None]:
    try:
        yield
    except ConnectionRefusedError:
        raise Failed(f"port {port}: Connection refused; is openai_completion_server.py ready there?") from None
    except (OSError, http.client.HTTPException) as error:
        raise Failed(f"port {port}: the connection broke: {error or type(error).__name__}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Failed(f"port {port}: this is no OpenAI server: {error!r}") from None


def _events(response: http.client.HTTPResponse) -> Iterator[dict[str, Any]]:
    for line in response:
        if not line.startswith(b"data: "):
            continue
        text = line.removeprefix(b"data: ").strip()
        if text == b"[DONE]":
            return
        yield json.loads(text)


def _said(delta: dict[str, Any]) -> tuple[str, str]:
    """Thinking and text of one piece; servers that keep thinking apart call it by either name, and write null."""
    return delta.get("reasoning_content") or delta.get("reasoning") or "", delta.get("content") or ""


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace")[:200]
