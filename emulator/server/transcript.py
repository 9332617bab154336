"""A streamed answer: takes tokens one by one, returns the text that can no longer change.

A token may be part of a letter (Chinese in byte-level vocabularies), and text may be the beginning of a stop string.
Both are held back until it is known.
"""

from collections.abc import Callable, Sequence

_UNFINISHED = "\N{REPLACEMENT CHARACTER}"
"""What a letter reads as while its last bytes are missing: always one, always at the end."""


class Transcript:
    """The text of one answer; `ended` once a stop string was met, which is not part of the text."""

    def __init__(self, decode: Callable[[Sequence[int]], str], stops: Sequence[str] = ()) -> None:
        self.text = ""
        """Everything that was handed out."""
        self.ended = False
        self._decode = decode
        self._stops = stops
        self._window: list[int] = []
        self._known = 0
        """Tokens of the window before the ones that may still be part of a letter."""
        self._shown = 0
        """Characters of the window's text that were taken already."""
        self._held = ""

    def add(self, token: int) -> str:
        """The text that is certain now that `token` has come."""
        self._window.append(token)
        told = self._decode(self._window)
        certain = told.removesuffix(_UNFINISHED)
        piece, self._shown = certain[self._shown :], max(len(certain), self._shown)
        if certain == told:
            self._shift()
        return self._hand_out(self._held + piece, final=False)

    def _shift(self) -> None:
        """Forget what no longer matters to how the next tokens read, so that the window stays short."""
        self._window, self._known = self._window[self._known :], len(self._window) - self._known
        self._shown = len(self._decode(self._window))

    def finish(self) -> str:
        """What was held back to the end."""
        if self.ended:
            return ""
        rest = self._decode(self._window)[self._shown :]
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
