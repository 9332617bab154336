"""Text to tokens and back, as DeepSeek-R1's distilled models are talked to.

A prompt is: begin mark, user mark, the question, assistant mark. Nothing else: the model itself opens with `<think>`,
and that part of the answer is kept. A conversation of more turns is worded by the model's own chat template.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from emulator.template import Template
from emulator.tool import Refused

_MARKS = ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>")


class Chat:
    """The tokenizer of one model folder, with its four marks."""

    def __init__(self, model: Path) -> None:
        path = model / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            raise Refused(f"{path}: cannot be read: {error}") from None
        added = {entry["content"]: entry["id"] for entry in json.loads(path.read_text("utf-8")).get("added_tokens", [])}
        missing = [mark for mark in _MARKS if mark not in added]
        if missing:
            raise Refused(f"{path}: no token {missing[0]}")
        self._begin, self._user, self._assistant, self.end = (added[mark] for mark in _MARKS)

    def prompt(self, question: str) -> list[int]:
        """The tokens that ask `question` as the first turn of a conversation."""
        return [self._begin, self._user, *self.tokens(question), self._assistant]

    def tokens(self, text: str) -> list[int]:
        """Plain text as tokens."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def text(self, tokens: Sequence[int]) -> str:
        """What the tokens say, without marks but with the `<think>` part."""
        said: str = self._tokenizer.decode(list(tokens), skip_special_tokens=True)
        return said


class Wording:
    """How a model's folder wants a conversation written down: its chat template with its marks."""

    def __init__(self, template: Template, marks: dict[str, str]) -> None:
        self._template = template
        self._marks = marks

    @classmethod
    def of(cls, model: Path) -> "Wording | None":
        """The folder's own wording: `chat_template.jinja`, else `chat_template` in `tokenizer_config.json`; None
        without either."""
        path, apart = model / "tokenizer_config.json", model / "chat_template.jinja"
        try:
            config = json.loads(path.read_text("utf-8")) if path.is_file() else {}
            text = apart.read_text("utf-8") if apart.is_file() else config.get("chat_template")
            marks = {name: _mark(config.get(name)) for name in ("bos_token", "eos_token", "unk_token", "pad_token")}
        except (ValueError, RecursionError, AttributeError, OSError) as error:
            raise Refused(f"{path}: cannot be read: {error}") from None
        if text is None:
            return None
        if not isinstance(text, str):
            raise Refused(f"{path}: chat_template is not one text")
        return cls(Template(text), marks)

    def text(self, messages: list[dict[str, Any]]) -> str:
        """The conversation up to where the assistant is to speak."""
        return self._template.render({**self._marks, "messages": messages, "add_generation_prompt": True})


def _mark(given: object) -> str:
    """A special token is a text, or an object that describes one."""
    content = given.get("content") if isinstance(given, dict) else given
    return content if isinstance(content, str) else ""
