"""Two texts as what they have in common and what only one of them has, character by character. Pure.

A character is what a reader takes for one: a letter with its combining marks, an emoji with its joined parts. Chinese
has no spaces, so that nothing coarser would help.
"""

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

MOST_COMPARED = 600
"""Characters of each text from shortly before the first difference on."""

KEPT = 60
"""Characters of a long equal part that are shown at each of its ends."""

_LEAST_EQUAL = 2
"""A shorter equal part between two changes is shown as changed: single characters in common are chance."""

_JOINER = "\u200d"


@dataclass(frozen=True)
class Part:
    """A part of a text; `changed` if the other text does not have it."""

    text: str
    changed: bool = False


@dataclass(frozen=True)
class SideBySide:
    """Both texts in parts; long equal parts have `…` for their middle."""

    before: tuple[Part, ...]
    after: tuple[Part, ...]
    cut: bool
    """Whether the end of a text is missing."""


def side_by_side(before: str, after: str) -> SideBySide:
    """Compare two texts from their first difference on, as far as `MOST_COMPARED` characters."""
    left, right = characters(before), characters(after)
    same = next((at for at, (a, b) in enumerate(zip(left, right, strict=False)) if a != b), min(len(left), len(right)))
    start = max(0, same - KEPT)
    left, right = left[start:], right[start:]
    cut = max(len(left), len(right)) > MOST_COMPARED
    left, right = left[:MOST_COMPARED], right[:MOST_COMPARED]
    lead = [Part("…")] if start else []
    olds, news = list(lead), list(lead)
    for equal, old, new in _joined(left, right):
        if equal:
            olds.append(Part(_short(old)))
            news.append(Part(_short(new)))
        else:
            olds += [Part("".join(old), changed=True)] if old else []
            news += [Part("".join(new), changed=True)] if new else []
    return SideBySide(tuple(olds), tuple(news), cut)


def characters(text: str) -> list[str]:
    """The text in what a reader takes for single characters."""
    found: list[str] = []
    for sign in text:
        joined = bool(found) and (_belongs(sign) or found[-1].endswith(_JOINER))
        if joined and found[-1] != "\n":
            found[-1] += sign
        else:
            found.append(sign)
    return found


def _belongs(sign: str) -> bool:
    return sign == _JOINER or unicodedata.category(sign) in ("Mn", "Mc", "Me") or "\U0001f3fb" <= sign <= "\U0001f3ff"


def _joined(left: Sequence[str], right: Sequence[str]) -> Iterator[tuple[bool, Sequence[str], Sequence[str]]]:
    """Equal and changed parts by turns; neighbouring changes are one."""
    from rapidfuzz.distance import LCSseq  # loaded when a comparison is looked at, not when the API starts

    old: list[str] = []
    new: list[str] = []
    codes = list(LCSseq.opcodes(left, right))
    for place, code in enumerate(codes):
        a, b = left[code.src_start : code.src_end], right[code.dest_start : code.dest_end]
        within = 0 < place < len(codes) - 1
        if code.tag == "equal" and not (within and len(a) < _LEAST_EQUAL):
            if old or new:
                yield False, old, new
                old, new = [], []
            yield True, a, b
        else:
            old += a
            new += b
    if old or new:
        yield False, old, new


def _short(part: Sequence[str]) -> str:
    if len(part) <= 2 * KEPT + 20:
        return "".join(part)
    return f"{''.join(part[:KEPT])} … {''.join(part[-KEPT:])}"
