"""The requests that the server accepts: OpenAI's request bodies, read strictly.

The cards decode greedily, so one request gets one answer and `temperature` and similar fields are accepted without
effect. An unknown field is refused by name: a setting that is silently ignored would be worse.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeGuard

_LARGEST = 1 << 20
_MOST_STOPS = 16
_NO_EFFECT: Mapping[str, Callable[[Any], bool]] = {
    "temperature": lambda value: _number(value, 0, 2),
    "top_p": lambda value: _number(value, 0, 1),
    "top_k": lambda value: _number(value, -1, _LARGEST),
    "seed": lambda value: value is None or _whole(value),
    "user": lambda value: isinstance(value, str),
    "n": lambda value: value == 1,
    "best_of": lambda value: value == 1,
    "presence_penalty": lambda value: value == 0,
    "frequency_penalty": lambda value: value == 0,
    "repetition_penalty": lambda value: value == 1,
    "logprobs": lambda value: value in (None, False),
    "echo": lambda value: value is False,
}
"""Fields that change nothing here, with the values they may have."""
_COMMON = frozenset({"model", "max_tokens", "stream", "stream_options", "stop", "ignore_eos", *_NO_EFFECT})
_CHAT = _COMMON | {"messages", "max_completion_tokens"}
_COMPLETION = _COMMON | {"prompt"}
_NEEDED = frozenset({"model", "messages", "prompt"})
_ABSENT: tuple[object, ...] = (None, [])
"""Values that clients send for fields without a value; vLLM treats such fields as absent."""
_DEFAULT_LENGTH = 16
"""Tokens of a completion that does not say; a chat takes what the model has room for."""


class BadRequest(Exception):
    """The request cannot be answered; the message names the field."""


class NoSuchModel(Exception):
    """The request is for a model that is not served here."""


@dataclass(frozen=True)
class Ask:
    """One checked request."""

    model: str
    prompt: str | list[int] | None
    """What a completion continues; None for a chat."""
    messages: list[dict[str, Any]]
    max_tokens: int | None
    """None: as many as there is room for."""
    stops: tuple[str, ...]
    stream: bool
    counted: bool
    """Whether the stream ends with the usage."""
    ignore_end: bool


def read_chat(body: bytes) -> Ask:
    """The request of `/v1/chat/completions`."""
    given = _object(body, _CHAT)
    if "max_tokens" in given and "max_completion_tokens" in given:
        raise BadRequest("max_tokens and max_completion_tokens are two names of one thing; give one")
    limit = given.get("max_tokens", given.get("max_completion_tokens"))
    return _ask(given, None, _messages(given.get("messages")), limit)


def read_completion(body: bytes) -> Ask:
    """The request of `/v1/completions`."""
    given = _object(body, _COMPLETION)
    prompt = given.get("prompt")
    as_tokens = isinstance(prompt, list) and bool(prompt) and all(_whole(token) for token in prompt)
    if not as_tokens and not (isinstance(prompt, str) and prompt):
        raise BadRequest("prompt must be one text or one list of token numbers, and not empty")
    return _ask(given, prompt, [], given.get("max_tokens", _DEFAULT_LENGTH))


def _object(body: bytes, known: frozenset[str]) -> dict[str, Any]:
    try:
        given = json.loads(body)
        # A lone surrogate is a text to JSON and to nobody else.
        json.dumps(given, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise BadRequest(f"the body is not JSON in UTF-8: {error}") from None
    if not isinstance(given, dict):
        raise BadRequest("the body is not a JSON object")
    given = {name: value for name, value in given.items() if name in _NEEDED or value not in _ABSENT}
    for name, value in given.items():
        if name not in known:
            raise BadRequest(f"{name} is not supported here; known are {', '.join(sorted(known))}")
        if name in _NO_EFFECT and not _NO_EFFECT[name](value):
            raise BadRequest(
                f"{name} cannot be {json.dumps(value)[:40]} here: the cards decode greedily, one answer each"
            )
    return given


def _ask(
    given: Mapping[str, Any], prompt: str | list[int] | None, messages: list[dict[str, Any]], limit: object
) -> Ask:
    if not isinstance(given.get("model"), str):
        raise BadRequest("model must be the name that /v1/models shows")
    if limit is not None and not (_whole(limit) and 1 <= limit <= _LARGEST):
        raise BadRequest(f"max_tokens must be a whole number from 1 to {_LARGEST}")
    options = given.get("stream_options") or {}
    if not isinstance(options, dict) or not set(options) <= {"include_usage"} or (options and not given.get("stream")):
        raise BadRequest("stream_options is an object with include_usage, for a stream only")
    return Ask(
        model=given["model"],
        prompt=prompt,
        messages=messages,
        max_tokens=limit,
        stops=_stops(given.get("stop")),
        stream=_flag(given, "stream"),
        counted=_flag(options, "include_usage"),
        ignore_end=_flag(given, "ignore_eos"),
    )


def _messages(given: object) -> list[dict[str, Any]]:
    if not isinstance(given, list) or not given:
        raise BadRequest("messages must be a list of at least one message")
    return [_message(at, message) for at, message in enumerate(given)]


def _message(at: int, given: object) -> dict[str, Any]:
    if not isinstance(given, dict) or not isinstance(given.get("role"), str):
        raise BadRequest(f"messages[{at}] must be an object with a role")
    content = given.get("content")
    if isinstance(content, list):
        content = "".join(_part(at, part) for part in content)
    if not isinstance(content, str):
        raise BadRequest(f"messages[{at}].content must be a text, or a list of parts of type text")
    return {**given, "content": content}


def _part(at: int, part: object) -> str:
    if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
        raise BadRequest(f"messages[{at}].content has a part that is not of type text")
    return str(part["text"])


def _stops(given: object) -> tuple[str, ...]:
    listed = [given] if isinstance(given, str) else [] if given is None else given
    if not isinstance(listed, list) or not all(isinstance(stop, str) and stop for stop in listed):
        raise BadRequest("stop must be a text or a list of texts, none of them empty")
    if len(listed) > _MOST_STOPS:
        raise BadRequest(f"stop has more than {_MOST_STOPS} texts")
    return tuple(listed)


def _flag(given: Mapping[str, Any], name: str) -> bool:
    value = given.get(name) or False
    if not isinstance(value, bool):
        raise BadRequest(f"{name} must be true or false")
    return value


def _whole(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object, low: float, high: float) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
