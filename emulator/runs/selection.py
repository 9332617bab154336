"""Which cards a run takes: the guide's `-cn` and `-bs`, read strictly.

`-cn` names whole groups of four (`0..3`, `0,1,2,3`, `0..3,8..11`, `0..31`) or the single card `0`. `-bs` is a number
of groups from 1 to 8, or a list of such numbers to run one after the other. Where both are given `-bs` wins, as the
guide says: the listed groups are taken first, then the lowest others.
"""

import re

from emulator.tool import Refused
from emulator.tree import CARDS, GROUP

GROUPS = CARDS // GROUP
_RANGE = re.compile(r"([0-9]{1,2})(?:\.\.([0-9]{1,2}))?")


def card_groups(text: str) -> list[list[int]]:
    """The groups that a `-cn` value names, in its order; `[[0]]` for the single card."""
    cards = [card for part in text.split(",") for card in _cards(part.strip(), text)]
    if cards == [0]:
        return [[0]]
    groups = [cards[at : at + GROUP] for at in range(0, len(cards), GROUP)]
    whole = all(group[0] % GROUP == 0 and group == list(range(group[0], group[0] + GROUP)) for group in groups)
    if not whole or len(set(cards)) != len(cards):
        raise Refused(f"-cn {text}: not whole card groups; use 0, or groups of 0..3 4..7 ... 28..31 joined by commas")
    return groups


def _cards(part: str, text: str) -> range:
    match = _RANGE.fullmatch(part)
    first = int(match[1]) if match else CARDS
    last = int(match[2] or first) if match else CARDS
    if not first <= last < CARDS:
        raise Refused(f"-cn {text}: {part!r} is neither a card from 0 to {CARDS - 1} nor a range like 0..3")
    return range(first, last + 1)


def batch_sizes(text: str) -> list[int]:
    """The sizes that a `-bs` value asks for, one run each."""
    inner = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    parts = [part.strip() for part in inner.split(",")]
    if not all(re.fullmatch(f"[1-{GROUPS}]", part) for part in parts):
        raise Refused(f"-bs {text}: not a number from 1 to {GROUPS}, nor a list of them like [1,5,6]")
    return [int(part) for part in parts]


def groups_for(size: int, listed: list[list[int]], *, bs_wins: bool = False) -> list[list[int]]:
    """The `size` groups that a run takes: those listed first, then the lowest others.

    The single card is one batch, so `-bs 1` leaves it as it is listed. In the variant `bs_wins` the list counts for
    nothing: the guide's table says no more than that `-bs` counts where both are given.
    """
    if bs_wins:
        listed = []
    if len(listed) == size:
        return listed
    whole = [group for group in listed if len(group) == GROUP]
    others = [list(range(first, first + GROUP)) for first in range(0, CARDS, GROUP)]
    return [*whole, *(group for group in others if group not in whole)][:size]


def require_cards(groups: list[list[int]], chips: int) -> None:
    """Refuse groups of more or fewer cards than the kcore was compiled for."""
    for group in groups:
        if len(group) == 1 and chips != 1:
            raise Refused(f"-cn 0: a single card needs a kcore compiled for one; this one is compiled for {chips}")
        if len(group) != chips:
            raise Refused(
                f"-cn {spelled(group)}: the kcore is compiled for {chips} card; give -cn 0 and -bs 1, or none"
            )


def spelled(cards: list[int]) -> str:
    """Cards as the guide writes them."""
    return f"{cards[0]}..{cards[-1]}" if len(cards) > 1 else str(cards[0])
