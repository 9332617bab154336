"""Text to tokens and back, with the chat format of a model.

DeepSeek-R1's distilled models, Qwen and Llama alike, are recognised by their four marks. A prompt is: begin mark, user
mark, the question, assistant mark. Nothing else: the model itself starts with `<think>`, and that part of the answer is
kept. For any other model the prompt is rendered with its own chat template; a model without a template gets the bare
question to continue. A conversation of several turns is always rendered with the template.
"""

import json
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from tokenizers import Tokenizer

from emulator.models.template import Template
from emulator.tool import Refused

_MARKS = ("<｜begin▁of▁sentence｜>", "<｜User｜>", "<｜Assistant｜>", "<｜end▁of▁sentence｜>")


class Chat:
    """The tokenizer of one model folder, and how a question is put to the model."""

    def __init__(self, model: Path) -> None:
        path = model / "tokenizer.json"
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:
            raise Refused(f"{path}: cannot be read: {error}") from None
        added = {entry["content"]: entry["id"] for entry in json.loads(path.read_text("utf-8")).get("added_tokens", [])}
        self._marks = [added[mark] for mark in _MARKS if mark in added]
        """All four, or the model is not one of DeepSeek's."""
        self.ends = tuple(self._marks[3:]) or _ends(model)
        """Tokens that end an answer; the first is the one to write after an answer."""
        self._model = model

    @cached_property
    def wording(self) -> "Wording | None":
        """The model's own way to write a conversation down; it is read, and refused, when first asked for."""
        return Wording.of(self._model)

    def prompt(self, question: str) -> list[int]:
        """The tokens that ask `question` as the first turn of a conversation."""
        if len(self._marks) == len(_MARKS):
            begin, user, assistant, _ = self._marks
            return [begin, user, *self.tokens(question), assistant]
        if self.wording is not None:
            return self.tokens(self.wording.text([{"role": "user", "content": question}]))
        return self.begun(question)

    def begun(self, text: str) -> list[int]:
        """A text that a model goes on from: with what the tokenizer itself puts before it, such as a begin mark."""
        ids: list[int] = self._tokenizer.encode(text).ids
        return ids

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


def _ends(model: Path) -> tuple[int, ...]:
    """The end marks that a folder's configs name; `generation_config.json` knows better than `config.json`."""
    for name in ("generation_config.json", "config.json"):
        path = model / name
        try:
            named = json.loads(path.read_text("utf-8")).get("eos_token_id") if path.is_file() else None
        except (ValueError, RecursionError, AttributeError, OSError) as error:
            raise Refused(f"{path}: cannot be read: {error}") from None
        listed = named if isinstance(named, list) else [named]
        if listed and all(type(token) is int for token in listed):
            return tuple(listed)
    raise Refused(f"{model}: no token {_MARKS[3]} and no eos_token_id: nothing says where an answer ends")
