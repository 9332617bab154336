"""The JSON of what the server answers, in OpenAI's shapes."""

import time
import uuid
from collections.abc import Mapping
from typing import Any

from emulator.server.answering import Answer

Json = Mapping[str, Any]


def models(name: str, longest: int) -> Json:
    """The answer of `/v1/models`."""
    model = {
        "id": name,
        "object": "model",
        "created": int(time.time()),
        "owned_by": "vllm",
        "root": name,
        "parent": None,
        "max_model_len": longest,
    }
    return {"object": "list", "data": [model]}


def error(status: int, kind: str, message: str) -> Json:
    """An error as vLLM words it."""
    return {"object": "error", "message": message, "type": kind, "param": None, "code": status}


class Reply:
    """One answer, whole or in pieces that share its id."""

    def __init__(self, model: str, *, chat: bool, counted: bool) -> None:
        self._chat = chat
        self._counted = counted
        self.id = f"{'chatcmpl' if chat else 'cmpl'}-{uuid.uuid4().hex}"
        self._head = {"id": self.id, "created": int(time.time()), "model": model}

    def whole(self, answer: Answer) -> Json:
        """The answer to a request without `stream`."""
        said: Json = {"message": {"role": "assistant", "content": answer.text}} if self._chat else {"text": answer.text}
        choice = {"index": 0, **said, "logprobs": None, "finish_reason": answer.finish_reason}
        kind = "chat.completion" if self._chat else "text_completion"
        return {**self._head, "object": kind, "choices": [choice], "usage": _usage(answer)}

    def opening(self) -> list[Json]:
        """What a stream begins with."""
        return [self._piece({"role": "assistant", "content": ""}, None)] if self._chat else []

    def piece(self, text: str) -> Json:
        """Some more text."""
        return self._piece({"content": text} if self._chat else text, None)

    def closing(self, answer: Answer) -> list[Json]:
        """What a stream ends with."""
        last = [self._piece({} if self._chat else "", answer.finish_reason)]
        if self._counted:
            last.append({**self._head, "object": self._kind, "choices": [], "usage": _usage(answer)})
        return last

    @property
    def _kind(self) -> str:
        return "chat.completion.chunk" if self._chat else "text_completion"

    def _piece(self, said: Json | str, finish_reason: str | None) -> Json:
        choice = {"index": 0, "delta" if self._chat else "text": said, "logprobs": None, "finish_reason": finish_reason}
        counted = {"usage": None} if self._counted else {}
        return {**self._head, "object": self._kind, "choices": [choice], **counted}


def _usage(answer: Answer) -> dict[str, int]:
    return {
        "prompt_tokens": answer.prompt_tokens,
        "completion_tokens": answer.output_tokens,
        "total_tokens": answer.prompt_tokens + answer.output_tokens,
    }
