"""What a terminal is sent of text that others wrote: characters and colours, and nothing that it would obey.

A name, a log or an error may hold sequences that set the title, write to the clipboard (OSC 52), hide where a link goes
(OSC 8), move the cursor over what stands there, or turn the direction of a line around.
"""

import codecs
import re
import unicodedata

_COLOUR = re.compile(r"\x1b\[[0-9;:]*m")
_UNFINISHED = re.compile(r"\x1b(\[[0-9;:]{0,60})?\Z")
_RESET = "\x1b[0m"


def harmless(char: str) -> bool:
    """Whether a terminal only draws it: neither a control character nor one that changes how others are drawn."""
    return char.isprintable() or unicodedata.category(char) == "Zs"


def visible(text: str, *, kept: str = "\n") -> str:
    """The text with each control character shown as an escape, those of Unicode too; those of `kept` stay."""
    if text.isprintable():
        return text
    return "".join(char if char in kept or harmless(char) else _escaped(char) for char in text)


def with_colours(text: str) -> str:
    """Like `visible`, but sequences that only set colour or style (SGR) pass; a lone carriage return ends a line."""
    lines = text.replace("\r\n", "\n").replace("\r", "\n")
    plain, colours = _COLOUR.split(lines), _COLOUR.findall(lines)
    return "".join(visible(piece, kept="\n\t") + colour for piece, colour in zip(plain, [*colours, ""], strict=True))


class LogScreen:
    """A log on its way to a terminal, piece by piece, wherever the pieces are cut."""

    def __init__(self, *, colours: bool = True) -> None:
        self._colours = colours
        self._decoder = codecs.getincrementaldecoder("utf-8")("surrogateescape")
        self._left = ""

    def shown(self, piece: bytes, *, final: bool = False) -> str:
        """What the terminal is sent for a piece; with the last one, its colours are set back."""
        text = self._left + self._decoder.decode(piece, final)
        cut = len(text)
        if not final:
            begun = _UNFINISHED.search(text)
            cut = begun.start() if begun else cut - text.endswith("\r")
        self._left = text[cut:]
        shown = with_colours(text[:cut]) if self._colours else _COLOUR.sub("", with_colours(text[:cut]))
        return shown + (_RESET if final and self._colours else "")


def _escaped(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return repr(char)[1:-1]
