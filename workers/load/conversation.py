"""One streamed request of the OpenAI API: the answer, and when each piece of it arrived."""

import json
import re
import time
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

import httpx2

from orchestrator.model.client_specs import Load
from workers.load.replies import Heard, ServerGone, Unanswered

PATIENCE = httpx2.Timeout(600, connect=30)
"""Seconds without a byte after which an answer is given up, as OpenAI's own client has it."""

_LINE_END = re.compile(rb"\r\n|[\r\n]")
_LONGEST_EVENT = 16 << 20
_TOLD = 200
_WHOLE = ("stop", "length")
"""Finish reasons of an answer that the server brought to its end."""

_PATHS = {"chat": "/v1/chat/completions", "completion": "/v1/completions"}


class Conversation:
    """One server and one way to ask it."""

    def __init__(self, client: httpx2.AsyncClient, *, model: str, max_tokens: int, load: Load) -> None:
        self._client = client
        self._chat = load.interface == "chat"
        self._path = _PATHS[load.interface]
        self._asked = {
            "model": model, "max_tokens": max_tokens, "temperature": 0, "stream": True,
            "stream_options": {"include_usage": True}, **({"ignore_eos": True} if load.ignore_eos else {}),
        }  # fmt: skip

    async def ask(self, prompt: str) -> Heard:
        """The complete answer; `Unanswered` if there is none, `ServerGone` if no server is there."""
        said = {"messages": [{"role": "user", "content": prompt}]} if self._chat else {"prompt": prompt}
        body = json.dumps({**said, **self._asked}, ensure_ascii=False).encode("utf-8", "replace")
        sent = time.perf_counter()
        with _trouble():
            async with self._client.stream(
                "POST", self._path, content=body, headers={"Content-Type": "application/json"}
            ) as response:
                if response.status_code != httpx2.codes.OK:
                    told = _message(await response.aread())
                    raise Unanswered(f"http_{response.status_code}", f"HTTP {response.status_code}: {told}")
                return await self._hear(response, sent)

    async def _hear(self, response: httpx2.Response, sent: float) -> Heard:
        pieces: list[str] = []
        thoughts: list[str] = []
        times: list[float] = []
        usage: dict[str, Any] = {}
        reason, last = "", sent
        async for at, event in _events(response):
            if "error" in event:
                raise Unanswered("server_error", _message(json.dumps(event["error"]).encode()))
            usage = event.get("usage") or usage
            for choice in event.get("choices", ()):
                thought, piece = _said(choice["delta"]) if self._chat else ("", choice["text"] or "")
                last = at
                thoughts.append(thought)
                pieces.append(piece)
                if thought or piece:
                    times.append(at)
                reason = choice.get("finish_reason") or reason
        if reason not in _WHOLE:
            raise Unanswered("cut_short", f"the answer was cut off ({reason or 'without a finish reason'})")
        if not times:
            raise Unanswered("empty", f"the answer is empty ({reason})")
        return Heard(
            "".join(pieces), reason, sent, times[0], last, tuple(_gaps(times)),
            _count(usage, "prompt_tokens"), _count(usage, "completion_tokens"), "".join(thoughts),
        )  # fmt: skip


def _said(delta: Mapping[str, Any]) -> tuple[str, str]:
    """Thinking and text of one piece. Servers call thinking by either name, and write null where there is none.

    https://docs.vllm.ai/en/latest/features/reasoning_outputs/
    """
    return delta.get("reasoning_content") or delta.get("reasoning") or "", delta.get("content") or ""


async def _events(response: httpx2.Response) -> AsyncIterator[tuple[float, dict[str, Any]]]:
    """Each event with the time at which its last byte came. Lines end in CR, LF or both, and at no U+2028.

    https://html.spec.whatwg.org/multipage/server-sent-events.html#parsing-an-event-stream
    """
    held = b""
    async for chunk in response.aiter_bytes():
        at = time.perf_counter()
        *lines, held = _LINE_END.split(held + chunk)
        if len(held) > _LONGEST_EVENT:
            raise Unanswered("not_openai", f"an event of more than {_LONGEST_EVENT} bytes")
        for line in lines:
            if not line.startswith(b"data:"):
                continue
            text = line.removeprefix(b"data:").strip()
            if text == b"[DONE]":
                return
            yield at, json.loads(text)


@contextmanager
def _trouble() -> Iterator[None]:
    try:
        yield
    except httpx2.TimeoutException as error:
        raise Unanswered("timeout", f"no data for too long ({type(error).__name__})") from None
    except httpx2.ConnectError as error:
        if any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error)):
            raise ServerGone("connection refused") from None
        raise Unanswered("not_connected", str(error) or type(error).__name__) from None
    except httpx2.HTTPError as error:
        raise Unanswered("broken_stream", f"connection lost: {str(error) or type(error).__name__}") from None
    except (ValueError, KeyError, IndexError, TypeError, AttributeError) as error:
        raise Unanswered("not_openai", f"not an answer of the OpenAI API: {error!r}"[:_TOLD]) from None


def _causes(error: BaseException) -> Iterator[BaseException]:
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        if isinstance(cause, BaseExceptionGroup):
            yield from cause.exceptions
        cause = cause.__cause__ or cause.__context__


def _gaps(times: list[float]) -> Iterator[float]:
    return (later - earlier for earlier, later in pairwise(times))


def _count(usage: dict[str, Any], name: str) -> int | None:
    value = usage.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None


def _message(body: bytes) -> str:
    try:
        return str(json.loads(body)["message"])[:_TOLD]
    except (ValueError, KeyError, TypeError):
        return body.decode("utf-8", "replace")[:_TOLD]
