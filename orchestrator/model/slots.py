"""Cards, card groups and slots: what a host offers, by the vendor's numbering."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

CARDS_PER_HOST = 32
CARDS_PER_GROUP = 4
GROUPS_PER_HOST = CARDS_PER_HOST // CARDS_PER_GROUP

GOLDEN_LABEL = {"golden": "yes"}
"""What a CPU seat carries whose worker has found what golden jobs need; they request it by themselves."""


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


def node_name(host: str, slot: str) -> str:
    """The name by which Celery knows the worker of a slot."""
    return f"{slot}@{host}"


SINGLE_CARD = "0"
"""The one legal way to ask for less than a group (guide, offline parameters, `-cn`); the job holds all of g0."""

WHOLE_HOST = f"0..{CARDS_PER_HOST - 1}"
"""All eight groups, as the guide's server on all cards is given them (online, example 2). The guide's table for the
offline test has no such range: that is given the eight ranges.
"""


def all_groups() -> tuple[SlotName, ...]:
    """The card groups of one host, ascending."""
    return tuple(SlotName(SlotKind.CARD_GROUP, index) for index in range(GROUPS_PER_HOST))


def groups_of_cards(text: str) -> tuple[SlotName, ...]:
    """The card groups that `4..7`, `4,5,6,7`, `0..3,8..11`, `0..31` or the single card `0` takes, ascending.

    ValueError names the legal forms.
    """
    if text == SINGLE_CARD:
        return all_groups()[:1]
    if text == WHOLE_HOST:
        return all_groups()
    known = {group.card_range: group for group in all_groups()}
    parts = _with_ranges(text.split(","))
    if not set(parts) <= known.keys() or len(set(parts)) != len(parts):
        raise ValueError(
            f"{text!r} does not name whole card groups: use one of {', '.join(known)}, several of them joined by "
            f"commas (0..3,8..11), {WHOLE_HOST} for all eight, a group card by card (0,1,2,3), or the single card "
            f"{SINGLE_CARD}"
        )
    return tuple(group for name, group in known.items() if name in parts)


def _with_ranges(parts: list[str]) -> list[str]:
    """Each whole group that is spelled out card by card as its range, as the guide's own default `0,1,2,3` is."""
    for group in all_groups():
        cards = [str(card) for card in group.cards]
        if all(parts.count(card) == 1 for card in cards):
            parts = [*(part for part in parts if part not in cards), group.card_range]
    return parts


def cards_of_groups(groups: Iterable[SlotName]) -> str:
    """The groups' cards as the vendor's `-cn` lists them: `0..3,8..11`."""
    return ",".join(group.card_range for group in groups)


def cards_of(slot_id: str) -> tuple[int, ...]:
    """The cards of `HOST.g3` on that host; none of a CPU seat."""
    return SlotName.parse(slot_id.rpartition(".")[2]).cards


def together(slot_ids: Sequence[str]) -> str:
    """Slots of one host in one word: `lab1.g0`, or `lab1.g0,g2`."""
    host = slot_ids[0].rpartition(".")[0]
    return f"{host}.{','.join(slot_id.removeprefix(f'{host}.') for slot_id in slot_ids)}"
