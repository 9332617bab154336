"""Cards, card groups and slots: what a host offers, by the vendor's numbering."""

import re
from dataclasses import dataclass
from enum import StrEnum

CARDS_PER_HOST = 32
CARDS_PER_GROUP = 4
GROUPS_PER_HOST = CARDS_PER_HOST // CARDS_PER_GROUP


class SlotKind(StrEnum):
    """What a slot is made of; a job asks for one of these."""

    CARD_GROUP = "card_group"
    CPU = "cpu"


@dataclass(frozen=True)
class SlotName:
    """`g0`…`g7` (a card group) or `cpu0`… (a CPU seat) of one host."""

    kind: SlotKind
    index: int

    @classmethod
    def parse(cls, text: str) -> "SlotName":
        """Read `g3` or `cpu0`; ValueError names what is legal."""
        match = re.fullmatch(r"(g|cpu)(0|[1-9][0-9]{0,2})", text)
        if match is None:
            raise ValueError(f"{text!r} is not a slot: use g0…g{GROUPS_PER_HOST - 1} or cpu0, cpu1, …")
        kind = SlotKind.CARD_GROUP if match[1] == "g" else SlotKind.CPU
        if kind is SlotKind.CARD_GROUP and int(match[2]) >= GROUPS_PER_HOST:
            raise ValueError(f"{text!r} is not a card group: a host has g0…g{GROUPS_PER_HOST - 1}")
        return cls(kind, int(match[2]))

    def __str__(self) -> str:
        return f"{'g' if self.kind is SlotKind.CARD_GROUP else 'cpu'}{self.index}"

    @property
    def cards(self) -> tuple[int, ...]:
        """The card numbers of a card group; none for a CPU seat."""
        if self.kind is SlotKind.CPU:
            return ()
        first = self.index * CARDS_PER_GROUP
        return tuple(range(first, first + CARDS_PER_GROUP))

    @property
    def card_range(self) -> str:
        """The group as the vendor's `-cn` wants it: `12..15`."""
        return f"{self.cards[0]}..{self.cards[-1]}"


def group_of_range(text: str) -> SlotName:
    """The card group that `0..3`, `4..7`, … names; ValueError for any other list of cards."""
    for index in range(GROUPS_PER_HOST):
        group = SlotName(SlotKind.CARD_GROUP, index)
        if text == group.card_range:
            return group
    ranges = ", ".join(SlotName(SlotKind.CARD_GROUP, i).card_range for i in range(GROUPS_PER_HOST))
    raise ValueError(f"{text!r} is not one of the eight card groups: use one of {ranges}")
