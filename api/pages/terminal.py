"""Lines that a tool wrote for a terminal, as HTML: colours as classes, nothing else of what a terminal would obey."""

import re
from collections.abc import Iterable
from dataclasses import dataclass

from markupsafe import Markup, escape

_COLOURS = re.compile(r"\x1b\[([0-9;:]*)m")
_OTHER = re.compile(r"\x1b(?:\[[0-?]*[ -/]*(?![0-9;:]*m)[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)|[ -/]*[0-Z\\^-~])")
"""Escape sequences that are no colours: they move a cursor, set a title, ask for something."""

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069]")
"""Control characters, and those that turn the direction of what stands beside them."""

_STYLES = {1: "bold", 2: "dim", 3: "italic", 4: "underline", 9: "strike"}
_ENDS = {22: ("bold", "dim"), 23: ("italic",), 24: ("underline",), 29: ("strike",)}


@dataclass(frozen=True)
class Shown:
    """One line as a page shows it."""

    html: Markup
    folded: int
    """States of a progress bar that it has overwritten."""


class Terminal:
    """Renders consecutive lines; a colour lasts until it is changed, over the ends of lines too."""

    def __init__(self) -> None:
        self._styles: set[str] = set()
        self._colours: dict[str, str] = {}

    def shown(self, lines: Iterable[str]) -> list[Shown]:
        """Each line, of one that was overwritten the last state."""
        return [self._line(line) for line in lines]

    def _line(self, line: str) -> Shown:
        states = [state for state in line.split("\r") if state] or [""]
        for overwritten in states[:-1]:
            for code in _COLOURS.finditer(overwritten):
                self._change(code[1])
        return Shown(self._html(states[-1]), len(states) - 1)

    def _html(self, text: str) -> Markup:
        # Texts and the numbers of colours by turns.
        parts = _COLOURS.split(text)
        found = []
        for place, part in enumerate(parts):
            if place % 2:
                self._change(part)
            elif plain := _CONTROL.sub("\N{REPLACEMENT CHARACTER}", _OTHER.sub("", part)):
                classes = " ".join([*sorted(self._styles), *sorted(self._colours.values())])
                found.append(Markup('<span class="{}">{}</span>').format(classes, plain) if classes else escape(plain))
        return Markup("").join(found)

    def _change(self, codes: str) -> None:
        numbers = [int(code[:4] or 0) for code in codes.replace(":", ";").split(";")]
        while numbers:
            number = numbers.pop(0)
            if number in (38, 48):
                self._extended(number, numbers)
            elif number == 0:
                self._styles.clear()
                self._colours.clear()
            elif number in _STYLES:
                self._styles.add(_STYLES[number])
            elif number in _ENDS:
                self._styles.difference_update(_ENDS[number])
            else:
                self._simple(number)

    def _simple(self, number: int) -> None:
        for first, ground, bright in ((30, "fg", 0), (40, "bg", 0), (90, "fg", 8), (100, "bg", 8)):
            if first <= number < first + 8:
                self._colours[ground] = f"{ground}-{number - first + bright}"
        if number in (39, 49):
            self._colours.pop("fg" if number == 39 else "bg", None)

    def _extended(self, number: int, rest: list[int]) -> None:
        """One of 256 colours, of which the first 16 are shown, or one of 16 million, of which none is."""
        ground = "fg" if number == 38 else "bg"
        way = rest.pop(0) if rest else 0
        if way == 5 and rest:
            colour = rest.pop(0)
            if colour < 16:
                self._colours[ground] = f"{ground}-{colour}"
            else:
                self._colours.pop(ground, None)
        elif way == 2:
            del rest[:3]
            self._colours.pop(ground, None)
