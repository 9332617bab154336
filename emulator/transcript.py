"""An answer as it is told: token by token in, text that can no longer change out.

A token may be part of a letter (Chinese in byte-level vocabularies), and text may be the beginning of a stop string.
Both are held back until it is known.
"""

from collections.abc import Callable, Sequence

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
_LONGEST_LETTER = 4
"""Bytes of a letter in UTF-8: with more tokens than that, a broken letter is broken for good."""


class Transcript:
    """The text of one answer; `ended` once a stop string was met, which is not part of the text."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self.text = ""
        """Everything that was handed out."""
        self.ended = False
        self._decode = decode
        self._stops = stops
        self._context: list[int] = []
        self._fresh: list[int] = []
        self._held = ""

    def add(self, token: int) -> str:
        """The text that is certain now that `token` has come."""
        self._fresh.append(token)
        before = self._decode(self._context)
        told = self._decode([*self._context, *self._fresh])
        if told.endswith(_UNFINISHED) and len(self._fresh) < _LONGEST_LETTER:
            return ""
        # Tokens before the last ones no longer matter to how the next ones read.
        self._context, self._fresh = self._fresh, []
        return self._hand_out(self._held + told[len(before) :], final=False)

    def finish(self) -> str:
        """What was held back to the end."""
        if self.ended:
            return ""
        before = self._decode(self._context)
        rest = self._decode([*self._context, *self._fresh])[len(before) :] if self._fresh else ""
        self._fresh = []
        return self._hand_out(self._held + rest, final=True)

    def _hand_out(self, text: str, *, final: bool) -> str:
        found = [at for at in (text.find(stop) for stop in self._stops) if at >= 0]
        if found:
            self.ended = True
            text, self._held = text[: min(found)], ""
        else:
            keep = 0 if final else max((_overlap(text, stop) for stop in self._stops), default=0)
            text, self._held = text[: len(text) - keep], text[len(text) - keep :]
        self.text += text
        return text


def _overlap(text: str, stop: str) -> int:
    """How much of the end of `text` is the beginning of `stop`."""
    lengths = range(min(len(text), len(stop) - 1), 0, -1)
    return next((length for length in lengths if text.endswith(stop[:length])), 0)
