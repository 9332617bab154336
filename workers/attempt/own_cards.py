"""Did a tool use the cards that its attempt has leased? From what it was seen to open, and what its output says. Pure.

A tool on other cards than its own is no fault of a host: the profile's arguments, or the tool, name the wrong ones. So
it is neither retried nor evidence against a slot.
"""

from collections.abc import Collection, Sequence

from orchestrator.model.failures import Failure, FailureKind
from orchestrator.model.profile import OwnCards
from orchestrator.model.slots import SlotName
from workers.attempt.judge import Evidence
from workers.processes.matching import search_all
from workers.processes.process import Outcome

_MOST_CARDS = 1024
"""Of one range: what is longer is no list of cards."""


def named(rule: OwnCards | None, evidence: Evidence) -> frozenset[int]:
    """The cards that the tool itself names in its output, by the profile's patterns."""
    return frozenset() if rule is None else named_in(rule, (evidence.log, *evidence.vendor_logs))


def named_in(rule: OwnCards, logs: Collection[str]) -> frozenset[int]:
    """The same of these texts."""
    texts = {found.groups["cards"] or "" for pattern in rule.said for log in logs for found in search_all(pattern, log)}
    return frozenset(card for text in texts for card in cards_in(text))


def cards_in(text: str) -> frozenset[int]:
    """The cards of `8..11`, `8-11`, `8,9,10,11` or `0..3, 8..11`; none if it is no such list."""
    cards: set[int] = set()
    for part in text.replace("..", "-").split(","):
        first, ranged, last = part.strip().partition("-")
        if not first.isdecimal() or (ranged and not last.isdecimal()):
            return frozenset()
        begin, end = int(first), int(last or first)
        if end - begin >= _MOST_CARDS:
            return frozenset()
        cards.update(range(begin, end + 1))
    return frozenset(cards)


def strayed(
    groups: Sequence[SlotName], outcome: Outcome, *, opened: Collection[int], said: Collection[int]
) -> Failure | None:
    """The failure of a tool that opened cards which are not its own, or that names such in its output."""
    own = _cards_of(groups)
    others = sorted(set(opened) - own)
    reason = f"it opened cards {_spelled(others)}"
    if not others:
        others = sorted(set(said) - own)
        reason = f"its output says that it uses cards {_spelled(others)}"
    if not others:
        return None
    its = f"its own are {_spelled(sorted(own))}" if own else "a CPU job has no cards"
    return _failure(f"{reason}, and {its}: see the profile's arguments for cards. Its slot is not at fault", outcome)


def why_unproven(
    rule: OwnCards | None, groups: Sequence[SlotName], *, seen: Collection[int], said: Collection[int], hidden: bool
) -> str | None:
    """Why the result of a run does not count, whose cards the profile wants to be seen: at least one of each group.

    `hidden`: the worker may not look into some of its processes."""
    if rule is None or not rule.required:
        return None
    known = {*seen, *said}
    unseen = [group for group in groups if not known.intersection(group.cards)]
    if not unseen:
        return None
    cards = _spelled([card for group in unseen for card in group.cards])
    reason = (
        f"it was not seen to open any of its cards {cards}, and its output names none of them: what it says may be "
        "from other cards and does not count (own_cards in the profile)"
    )
    remedy = "the worker may not look into its processes: run it as their user or as root, or set own_cards.said"
    return f"{reason}; {remedy}" if hidden else reason


def unproven(reason: str | None, outcome: Outcome) -> Failure | None:
    """The failure of a run for such a reason."""
    return None if reason is None else _failure(reason, outcome)


def _cards_of(groups: Sequence[SlotName]) -> frozenset[int]:
    return frozenset(card for group in groups for card in group.cards)


def _spelled(cards: Sequence[int]) -> str:
    return ", ".join(map(str, cards))


def _failure(reason: str, outcome: Outcome) -> Failure:
    return Failure(kind=FailureKind.WRONG_CARDS, reason=reason, exit_code=outcome.exit_code, signal=outcome.signal)
