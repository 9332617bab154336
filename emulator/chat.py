"""Text to tokens and back, as DeepSeek-R1's distilled models are talked to.

A prompt is: begin mark, user mark, the question, assistant mark. Nothing else: the model itself opens with `<think>`,
and that part of the answer is kept.
"""

import json
from collections.abc import Sequence
from pathlib import Path

from tokenizers import Tokenizer

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
