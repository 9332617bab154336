"""A pattern for the line in which a tool names its cards, found from a log and the cards that it was given. Pure."""

import re
from collections.abc import Sequence

_ABOUT_CARDS = re.compile(r"(?i)card|chip|devic|dev\b|卡")
_ARGUMENT = re.compile(r"(?i)(^|\s)-cn\b|card[_-]?num")
"""What only repeats the arguments does not tell which cards were used."""

_LONGEST = 120
"""Characters before the cards: a line with more is no plain word about them."""

_CARDS = r"(?P<cards>[0-9.,-]{1,64})"


def cards_pattern(log: str, cards: Sequence[int]) -> str | None:
    """A pattern with the group `cards` for the first line about exactly these cards; None if there is no such line."""
    spelled = [",".join(map(str, cards)), *((f"{cards[0]}..{cards[-1]}", f"{cards[0]}-{cards[-1]}") if cards else ())]
    listed = re.compile(rf"(?<![0-9.,-])(?:{'|'.join(map(re.escape, spelled))})(?![0-9.,-])")
    for line in log.splitlines():
        found = listed.search(line)
        if found and found.start() <= _LONGEST and _ABOUT_CARDS.search(line) and not _ARGUMENT.search(line):
            return f"(?m)^{_like(line[: found.start()])}{_CARDS}{_like(_word_after(line, found.end()))}"
    return None


def _word_after(line: str, end: int) -> str:
    """A little of what follows, so that the pattern ends where the cards do."""
    after = re.match(r"\s?[^\s0-9]{0,12}", line[end:])
    return "" if after is None else after[0].rstrip()


def _like(text: str) -> str:
    """The text, with any number in the place of each number."""
    return r"[0-9]{1,9}".join(re.escape(part) for part in re.split(r"[0-9]+", text))
